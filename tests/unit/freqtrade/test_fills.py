"""Trades of freqtrade as entries of the fills stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from squeezeflow import fills
from tests.unit.freqtrade.test_rules import NOW_MS, entry

OPENED_AT = datetime(2027, 1, 15, 8, 0, 0, 250_000, UTC)
CLOSED_AT = datetime(2027, 1, 15, 8, 5, 0, 0, UTC)


@dataclass
class Trade:
    """The fields of a freqtrade trade that fills are made of."""

    id: int = 7
    pair: str = "BTC/USDT:USDT"
    enter_tag: str | None = "sf:id-1"
    is_short: bool = False
    open_rate: float = 100.0
    amount: float = 3.0
    stake_amount: float = 100.0
    leverage: float = 3.0
    date_entry_fill_utc: datetime | None = OPENED_AT
    open_date_utc: datetime = OPENED_AT
    close_rate: float | None = 101.0
    close_date_utc: datetime | None = CLOSED_AT
    close_profit: float | None = 0.027
    close_profit_abs: float | None = 2.7
    exit_reason: str | None = "sf_range_break"


def test_opened_tells_the_entry() -> None:
    fill = fills.opened(Trade(), "BTCUSDT")
    assert (fill.event, fill.signal_id, fill.trade_id) == ("opened", "id-1", 7)
    assert (fill.symbol, fill.pair, fill.side) == ("BTCUSDT", "BTC/USDT:USDT", "long")
    assert (fill.price, fill.amount, fill.stake, fill.leverage) == (100.0, 3.0, 100.0, 3.0)
    assert fill.ts_ms == 1_800_000_000_250
    assert (fill.pnl, fill.pnl_ratio, fill.reason) == (0.0, 0.0, "")


def test_closed_tells_the_exit() -> None:
    fill = fills.closed(Trade(is_short=True), "BTCUSDT")
    assert (fill.event, fill.signal_id, fill.side) == ("closed", "id-1", "short")
    assert (fill.price, fill.pnl, fill.pnl_ratio) == (101.0, 2.7, 0.027)
    assert fill.reason == "sf_range_break"
    assert fill.ts_ms == 1_800_000_300_000


@pytest.mark.parametrize("reason", ["stop_loss", "trailing_stop_loss", "stoploss_on_exchange"])
def test_every_kind_of_stop_is_the_catastrophic_stop(reason: str) -> None:
    assert fills.closed(Trade(exit_reason=reason), "BTCUSDT").reason == "CATASTROPHIC_STOP"


@pytest.mark.parametrize("reason", ["force_exit", "emergency_exit", "liquidation"])
def test_other_exits_keep_their_name(reason: str) -> None:
    assert fills.closed(Trade(exit_reason=reason), "BTCUSDT").reason == reason


def test_rejected_names_the_signal_and_the_reason() -> None:
    signal = entry(action="SHORT", stop_price=105.0)
    fill = fills.rejected(signal, "price_deviation", NOW_MS)
    assert (fill.event, fill.signal_id, fill.side) == ("rejected", "id-1", "short")
    assert (fill.reason, fill.ts_ms, fill.trade_id) == ("price_deviation", NOW_MS, None)
