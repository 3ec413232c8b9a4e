"""Figures against values computed by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backtest import metrics
from services.backtest.result import TradeRow

DAY = 86_400


def trade(pnl: float, **fields: object) -> TradeRow:
    known: dict[str, object] = {
        "trade_id": 1,
        "signal_id": "one",
        "setup_id": "BTC:1:0",
        "symbol": "BTCUSDT",
        "direction": 1,
        "score": 6.5,
        "tier": "medium",
        "breakdown": {},
        "size_factor": 1.0,
        "leverage": 3.0,
        "stake": 100.0,
        "amount": 3.0,
        "entry_ms": 0,
        "entry_price": 100.0,
        "signal_price": 100.0,
        "invalidation_price": 99.0,
        "stop_price": None,
        "exit_ms": 60_000,
        "exit_price": 101.0,
        "exit_reason": "RANGE_BREAK",
        "fees": 0.5,
        "funding": 0.0,
        "pnl": pnl,
        "return_on_stake": pnl / 100.0,
        "r_multiple": pnl / 3.0,
        "holding_s": 60.0,
        "mae": -0.01,
        "mfe": 0.02,
    }
    return msgspec.convert(known | fields, TradeRow)


def test_drawdown_is_measured_from_the_highest_equity_so_far() -> None:
    curve = metrics.curve_of([(0, 100.0), (60, 120.0), (120, 90.0), (180, 108.0), (240, 130.0)])
    assert curve.drawdown == pytest.approx([0.0, 0.0, -0.25, -0.1, 0.0])
    assert metrics.longest_drawdown_s(curve) == 120


def test_a_drawdown_that_never_ends_lasts_to_the_end() -> None:
    curve = metrics.curve_of([(0, 100.0), (60, 90.0), (3600, 95.0)])
    assert metrics.longest_drawdown_s(curve) == 3600


def test_growth_is_compounded_to_a_year() -> None:
    assert metrics.cagr(100.0, 121.0, 2 * 365 * DAY) == pytest.approx(0.1)
    assert metrics.cagr(100.0, 50.0, 365 * DAY) == pytest.approx(-0.5)


@pytest.mark.parametrize(("end", "length_s"), [(101.0, 6 * DAY), (0.0, 365 * DAY)])
def test_growth_of_a_year_is_not_told_from_days_or_of_a_lost_wallet(
    end: float, length_s: int
) -> None:
    assert metrics.cagr(100.0, end, length_s) is None


def test_sharpe_is_mean_over_sample_deviation_annualised() -> None:
    returns = np.array([0.01, -0.01, 0.02, 0.0])
    mean, deviation = 0.005, math.sqrt((0.005**2 + 0.015**2 + 0.015**2 + 0.005**2) / 3)
    assert metrics.sharpe(returns, DAY) == pytest.approx(mean / deviation * math.sqrt(365))


def test_sortino_counts_losses_alone_as_risk() -> None:
    returns = np.array([0.01, -0.01, 0.02, 0.0])
    downside = math.sqrt(0.01**2 / 4)
    assert metrics.sortino(returns, DAY) == pytest.approx(0.005 / downside * math.sqrt(365))


def test_ratios_without_variation_or_loss_are_not_defined() -> None:
    assert metrics.sharpe(np.zeros(30), DAY) is None
    assert metrics.sharpe(np.array([0.01]), DAY) is None
    assert metrics.sortino(np.array([0.01, 0.02]), DAY) is None
    assert metrics.sortino(np.empty(0), DAY) is None


def test_returns_are_daily_over_a_month_and_hourly_below() -> None:
    month = metrics.curve_of([(i * 3600, 100.0 + i) for i in range(31 * 24 + 1)])
    name, period_s, returns = metrics.returns_of(month)
    assert (name, period_s, len(returns)) == ("daily", DAY, 31)
    assert returns[0] == pytest.approx(0.24)
    week = metrics.curve_of([(i * 60, 100.0) for i in range(7 * 1440)])
    name, period_s, returns = metrics.returns_of(week)
    assert (name, period_s, len(returns)) == ("hourly", 3600, 167)


def test_less_than_a_day_gives_no_ratios() -> None:
    curve = metrics.curve_of([(i * 60, 100.0 + i) for i in range(23 * 60)])
    assert metrics.returns_of(curve)[0] == ""


def test_profit_factor_is_gains_over_losses() -> None:
    assert metrics.profit_factor([3.0, -1.0, 2.0, -1.5]) == pytest.approx(2.0)
    assert metrics.profit_factor([-1.0]) == 0.0
    assert metrics.profit_factor([1.0]) is None
    assert metrics.profit_factor([]) is None


def test_a_result_of_nothing_has_no_made_up_figures() -> None:
    curve = metrics.curve_of([(0, 1000.0), (3600, 1000.0)])
    found = metrics.measure(curve, [], signals=0, exposed_s=0, turnover=0.0, symbols=1)
    for name in ("win_rate", "expectancy", "profit_factor", "sharpe", "cagr", "calmar", "best"):
        assert getattr(found, name) is None, name
    assert (found.trades, found.pnl, found.max_drawdown, found.exposure) == (0, 0.0, 0.0, 0.0)


def test_all_figures_of_a_small_run() -> None:
    curve = metrics.curve_of([(0, 1000.0), (DAY, 1010.0), (2 * DAY, 1004.0)])
    trades = [trade(10.0), trade(-6.0, holding_s=180.0)]
    found = metrics.measure(curve, trades, signals=3, exposed_s=17_280, turnover=1200.0, symbols=1)
    assert found.pnl == 4.0
    assert found.total_return == pytest.approx(0.004)
    assert found.max_drawdown == pytest.approx(-6 / 1010)
    assert found.max_drawdown_abs == pytest.approx(-6.0)
    assert (found.win_rate, found.expectancy) == (0.5, 2.0)
    assert found.expectancy_r == pytest.approx(4.0 / 6.0)
    assert (found.average_win, found.average_loss) == (10.0, -6.0)
    assert (found.best, found.worst) == (10.0, -6.0)
    assert found.median_holding_s == 120.0
    assert found.exposure == pytest.approx(0.1)
    assert found.turnover == pytest.approx(1.2)
    assert found.fees == 1.0
    assert found.signals_per_day == 1.5


def test_groups_hold_every_trade_once_in_each_way() -> None:
    trades = [
        trade(1.0, tier="high"),
        trade(-2.0, tier="low", direction=-1, exit_reason="CVD_TREND"),
        trade(3.0, tier="low", symbol="ETHUSDT"),
    ]
    groups = metrics.groups_of(trades)
    assert [(g.label, g.trades) for g in groups.tier] == [("high", 1), ("low", 2)]
    assert [(g.label, g.pnl) for g in groups.direction] == [("long", 4.0), ("short", -2.0)]
    assert [g.label for g in groups.exit_reason] == ["CVD_TREND", "RANGE_BREAK"]
    assert [g.label for g in groups.symbol] == ["BTCUSDT", "ETHUSDT"]
    assert groups.tier[1].profit_factor == pytest.approx(1.5)


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50))
def test_drawdown_lies_between_minus_one_and_zero(equity: list[float]) -> None:
    curve = metrics.curve_of(list(enumerate(equity)))
    assert all(-1.0 <= below <= 0.0 for below in curve.drawdown)
    assert curve.drawdown[equity.index(max(equity))] == 0.0
