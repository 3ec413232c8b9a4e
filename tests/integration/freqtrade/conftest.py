"""One freqtrade for all tests of a module, with an exchange and a Redis of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.freqtrade.bot import Bot, Runner, blocking_redis, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """The exchange of this module."""
    with Exchange() as exchange:
        yield exchange


@pytest.fixture(scope="module")
def bot_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis of this module, which tests may stop and start."""
    server = RedisServer(tmp_path_factory.mktemp("bot-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running_bot(
    tmp_path_factory: pytest.TempPathFactory, exchange: Exchange, bot_redis: RedisServer
) -> Iterator[Bot]:
    """freqtrade, running."""
    with Bot(tmp_path_factory.mktemp("bot"), bot_redis.port, exchange.url) as bot:
        yield bot


@pytest.fixture
def runner(bot_redis: RedisServer, exchange: Exchange) -> Iterator[Runner]:
    """The strategy's side of Redis."""
    with blocking_redis(bot_redis.port) as client:
        yield Runner(client, exchange.prices)


@pytest.fixture
def bot(running_bot: Bot, runner: Runner, exchange: Exchange) -> Iterator[Bot]:
    """freqtrade without positions and signals, prices as at the start."""
    prices = dict(exchange.prices)
    yield running_bot
    exchange.prices.update(prices)
    for symbol in prices:
        runner.withdraw(symbol)
    flatten(running_bot, runner)


def flatten(bot: Bot, runner: Runner) -> None:
    """Close every position and wait until that is told."""
    for trade in bot.open_trades():
        bot.post("forceexit", {"tradeid": str(trade["trade_id"])})
        runner.fill(trade["enter_tag"].removeprefix("sf:"), "closed")
    eventually(lambda: not bot.open_trades())
