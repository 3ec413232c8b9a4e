"""One freqtrade with keys for all tests of a module, and an exchange with an account for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.freqtrade.bot import Bot
from tests.integration.freqtrade.live_exchange import LiveExchange, live_settings
from tests.integration.servers import RedisServer


@pytest.fixture(scope="module")
def exchange() -> Iterator[LiveExchange]:
    """An exchange with an account."""
    with LiveExchange("KEYofTheExchange" + "k" * 48, "SECRETofTheExchange" + "s" * 45) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def dry_run() -> bool:
    """Whether the money is simulated in spite of the keys."""
    return False


@pytest.fixture(scope="module")
def running_bot(
    tmp_path_factory: pytest.TempPathFactory,
    exchange: LiveExchange,
    bot_redis: RedisServer,
    dry_run: bool,
) -> Iterator[Bot]:
    """freqtrade, running, its keys in files."""
    folder = tmp_path_factory.mktemp("bot")
    settings = live_settings(folder, exchange)
    if not dry_run:
        settings["FREQTRADE__DRY_RUN"] = "false"
    with Bot(folder, bot_redis.port, exchange.url, settings) as bot:
        yield bot
