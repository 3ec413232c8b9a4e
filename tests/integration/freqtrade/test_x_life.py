"""The whole life of a trade, decided by the strategy and made by the real freqtrade."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core.records import Signal
from tests.integration.freqtrade.bot import FAST, Bot
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.freqtrade.life import INSTRUMENTS, PRICES, WHITELIST, Life, LiveTape, on
from tests.integration.servers import RedisServer

pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]
STAKE = 100.0


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    """With Bitcoin at the price of the scenarios."""
    with Exchange(PRICES, INSTRUMENTS) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def trading_bot(
    tmp_path_factory: pytest.TempPathFactory, exchange: Exchange, bot_redis: RedisServer
) -> Iterator[Bot]:
    """freqtrade, running."""
    with Bot(tmp_path_factory.mktemp("bot"), bot_redis.port, exchange.url, FAST | WHITELIST) as bot:
        yield bot


def check_entry(signal: Signal, trade: dict[str, Any]) -> None:
    """As signalled."""
    assert trade["enter_tag"] == f"sf:{signal.signal_id}"
    assert trade["is_short"] == (signal.action == "SHORT")
    assert trade["leverage"] == signal.leverage
    assert trade["stake_amount"] == pytest.approx(STAKE * signal.position_size_factor, rel=0.01)
    assert trade["open_rate"] == pytest.approx(signal.entry_price, rel=signal.max_deviation)


def check_outcome(row: dict[str, Any], trade: dict[str, Any], reason: str) -> None:
    """What is recorded is what freqtrade says."""
    profit = trade["close_profit_abs"]
    assert row["outcome"] == ("profitable" if profit > 0 else "unprofitable")
    assert row["exit_reason"] == reason
    assert row["trade_id"] == trade["trade_id"]
    assert row["exit_price"] == trade["close_rate"]
    assert row["pnl"] == pytest.approx(profit, abs=1e-8)
    assert row["pnl_percentage"] == pytest.approx(trade["close_profit"] * 100, abs=1e-6)
    print(f"{reason}: pnl {row['pnl']:.4f} recorded, {profit:.4f} in freqtrade")


@pytest.mark.parametrize("mirrored", [False, True], ids=["long", "short"])
@pytest.mark.parametrize(("scenario", "reason"), [("S5", "FLOW_REVERSAL"), ("S3", "RANGE_BREAK")])
async def test_trade_from_signal_to_outcome(
    trading_bot: Bot,
    bot_redis: RedisServer,
    exchange: Exchange,
    connections: Connections,
    influx: InfluxClient,
    tmp_path: Path,
    scenario: str,
    reason: str,
    mirrored: bool,
) -> None:
    bot_redis.flush()
    tape = LiveTape(scenario, mirrored=mirrored)
    where = on(connections, bot_redis.port)
    async with Life(tape, trading_bot, exchange, where, influx, tmp_path) as life:
        signal, opened = await life.enter()
        assert signal.action == ("SHORT" if mirrored else "LONG")
        check_entry(signal, opened)
        close = await life.exit(within_s=1200)
        assert close.exit_reason == reason
        closed = await life.ended(signal)
        assert closed["exit_reason"] == f"sf_{reason.lower()}"
    check_outcome(await life.outcome(signal), closed, reason)


@pytest.mark.parametrize("mirrored", [False, True], ids=["long", "short"])
async def test_trade_ended_by_its_catastrophic_stop(
    trading_bot: Bot,
    bot_redis: RedisServer,
    exchange: Exchange,
    connections: Connections,
    influx: InfluxClient,
    tmp_path: Path,
    mirrored: bool,
) -> None:
    bot_redis.flush()
    tape = LiveTape("S5", mirrored=mirrored)
    where = on(connections, bot_redis.port)
    async with Life(tape, trading_bot, exchange, where, influx, tmp_path) as life:
        signal, opened = await life.enter()
        check_entry(signal, opened)
        assert signal.stop_price is not None
        await life.protected()
        beyond = 1.002 if mirrored else 0.998
        exchange.prices["BTCUSDT"] = signal.stop_price * beyond
        closed = await life.ended(signal)
        assert closed["close_profit_abs"] < 0
    check_outcome(await life.outcome(signal), closed, "CATASTROPHIC_STOP")
