"""freqtrade's trades restored from a backup, and Redis empty: what is open is not forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Alert, Signal
from services.strategy.types import State
from tests.integration.freqtrade.bot import FAST, Bot, Runner, eventually
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.freqtrade.life import INSTRUMENTS, PRICES, WHITELIST, Life, LiveTape, on
from tests.integration.servers import RedisServer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """With Bitcoin at the price of the scenarios."""
    with Exchange(PRICES, INSTRUMENTS) as exchange:
        yield exchange


@pytest.fixture
def bot(tmp_path: Path, bot_redis: RedisServer, exchange: Exchange) -> Iterator[Bot]:
    """freqtrade, running, that has never traded."""
    bot_redis.flush()
    exchange.prices.update(PRICES)
    with Bot(tmp_path, bot_redis.port, exchange.url, FAST | WHITELIST) as bot:
        yield bot


def restore(bot: Bot, copy: Path) -> None:
    """As after the loss of a disk."""
    bot.kill()
    bot.restore(copy)
    bot.start()


def leave_behind(redis: Redis, signal: Signal) -> None:
    """Put a signal in its key as it stood there once, just outlived, without the claim on it."""
    outlived_ms = time.time_ns() // 1_000_000 - signal.ttl * 1000 - 1
    signal = msgspec.structs.replace(signal, refreshed_ms=outlived_ms)
    redis.delete(names.executed(signal.signal_id))
    redis.set(names.signal(signal.symbol), msgspec.json.encode(signal))


def alerts(redis: Redis) -> list[str]:
    """Codes of all alerts."""
    told = redis.lrange(names.ALERTS, 0, -1)
    assert isinstance(told, list)
    return [msgspec.json.decode(raw, type=Alert).code for raw in told]


async def test_trade_that_a_restored_database_lacks_is_an_alarm_and_no_second_trade(
    bot: Bot,
    runner: Runner,
    exchange: Exchange,
    bot_redis: RedisServer,
    connections: Connections,
    influx: InfluxClient,
    tmp_path: Path,
) -> None:
    bot.backup(tmp_path / "older.sqlite")
    tape, where = LiveTape("S5", mirrored=False), on(connections, bot_redis.port)
    async with Life(tape, bot, exchange, where, influx, tmp_path) as life:
        signal, _ = await life.enter()
        await asyncio.to_thread(restore, bot, tmp_path / "older.sqlite")
        leave_behind(runner.redis, signal)
        await asyncio.to_thread(bot.let_turn)
        assert not bot.trades_of(signal.signal_id)
        await life.play(tape.entry + 30)  # a trade of just now might not be there yet
        life.runner.app.reconciler.ask()
        await life.reaches(State.COOLDOWN)
        await asyncio.to_thread(eventually, lambda: "trade_vanished" in alerts(runner.redis))
    row = await life.outcome(signal)
    assert (row["outcome"], row["exit_reason"]) == ("cancelled", "VANISHED")


async def test_trade_that_is_open_again_in_a_restored_database_is_adopted_and_ended(
    bot: Bot,
    runner: Runner,
    exchange: Exchange,
    bot_redis: RedisServer,
    connections: Connections,
    influx: InfluxClient,
    tmp_path: Path,
) -> None:
    tape, where = LiveTape("S5", mirrored=True), on(connections, bot_redis.port)
    async with Life(tape, bot, exchange, where, influx, tmp_path) as life:
        signal, opened = await life.enter()
        await asyncio.to_thread(bot.backup, tmp_path / "older.sqlite")
        await life.exit(within_s=1200)
        await life.ended(signal)
        await life.store_played()
        await asyncio.to_thread(restore, bot, tmp_path / "older.sqlite")
        (again,) = await asyncio.to_thread(bot.open_trades)
        assert again["trade_id"] == opened["trade_id"]
        life.runner.app.reconciler.ask()
        await life.reaches(State.IN_POSITION)
        await life.exit(within_s=600)
        closed = await life.ended(signal)
    row = await life.outcome(signal)
    assert row["exit_price"] == closed["close_rate"]
    assert row["pnl"] == pytest.approx(closed["close_profit_abs"], abs=1e-8)


def test_after_the_loss_of_redis_nothing_old_is_entered_and_what_is_open_is_kept(
    bot: Bot, runner: Runner, bot_redis: RedisServer
) -> None:
    held = runner.executed()
    bot_redis.kill()
    bot_redis.start()
    leave_behind(runner.redis, held)
    bot.let_turn()
    assert [t["enter_tag"] for t in bot.open_trades()] == [f"sf:{held.signal_id}"]
    runner.publish(runner.close(held))
    runner.fill(held.signal_id, "closed")
    outlived = runner.entry()
    for signal in (held, outlived):
        leave_behind(runner.redis, signal)
        bot.let_turn()
    assert len(bot.trades_of(held.signal_id)) == 1
    assert not bot.trades_of(outlived.signal_id)
