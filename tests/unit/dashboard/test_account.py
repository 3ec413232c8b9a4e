"""Trades as the page lists them."""

from __future__ import annotations

from typing import Any

import pytest

from services.dashboard.account import profit_since, row_of
from services.freqtrade_client import PAGE, Trade

DAY_MS = 1_795_392_000_000


def trade(**fields: Any) -> Trade:
    return Trade(
        **{
            "trade_id": 7,
            "pair": "BTC/USDT:USDT",
            "is_short": True,
            "is_open": True,
            "open_timestamp": 1_000,
            "open_rate": 100.0,
            **fields,
        }
    )


def test_an_open_trade_has_its_profit_at_the_current_rate_and_its_stop() -> None:
    row = row_of(
        trade(
            open_fill_timestamp=1_500, current_rate=99.0, profit_abs=3.0, profit_ratio=0.03,
            stop_loss_abs=102.0, enter_tag="sf:abc", stake_amount=100.0, leverage=3.0,
        )
    )  # fmt: skip

    assert (row.symbol, row.side, row.opened_ms, row.signal_id) == (
        "BTCUSDT",
        "short",
        1_500,
        "abc",
    )
    assert (row.profit, row.profit_ratio, row.stop_rate) == (3.0, 0.03, 102.0)
    assert (row.current_rate, row.closed_ms) == (99.0, None)


def test_a_closed_trade_has_what_it_brought() -> None:
    row = row_of(
        trade(
            is_open=False, is_short=False, current_rate=99.0, profit_abs=1.0, profit_ratio=0.01,
            close_timestamp=9_000, close_rate=101.0, close_profit=0.02, close_profit_abs=2.0,
            exit_reason="flow_reversal",
        )
    )  # fmt: skip

    assert (row.side, row.closed_ms, row.close_rate) == ("long", 9_000, 101.0)
    assert (row.profit, row.profit_ratio, row.exit_reason) == (2.0, 0.02, "flow_reversal")
    assert row.current_rate is None


def test_what_freqtrade_does_not_tell_is_not_known() -> None:
    row = row_of(trade(pair="BTC/USDC"))

    assert (row.profit, row.stop_rate, row.signal_id, row.symbol) == (None, None, "", "BTC/USDC")


def closed(at_ms: int, profit: float | None) -> Trade:
    return trade(is_open=False, close_timestamp=at_ms, close_profit_abs=profit)


@pytest.mark.parametrize(
    ("trades", "profit"),
    [
        ([], 0.0),
        ([closed(DAY_MS - 1, 5.0)], 0.0),
        ([closed(DAY_MS - 1, 5.0), closed(DAY_MS, 2.0), closed(DAY_MS + 9, -3.0)], -1.0),
        ([closed(DAY_MS, None)], None),
        ([closed(DAY_MS, 1.0)] * PAGE, None),
        ([closed(DAY_MS - 1, 1.0), *[closed(DAY_MS, 1.0)] * (PAGE - 1)], PAGE - 1.0),
    ],
)
def test_the_profit_of_the_day_is_told_only_if_all_of_it_is_known(
    trades: list[Trade], profit: float | None
) -> None:
    assert profit_since(trades, DAY_MS) == profit
