from __future__ import annotations

from typing import Any

import pytest

from services.signal_statistics import TIERS, analyse, figures, spread


def row(outcome: str, pnl: float | None = None, tier: str = "low", **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "pnl": pnl, "score": 5.0, "score_tier": tier, "symbol": "A", **more}


ROWS = [
    row("profitable", 6.0, "high", pnl_percentage=6.0, exit_reason="CVD_TREND", score=8.5),
    row("profitable", 3.0, pnl_percentage=2.0, exit_reason="CVD_TREND", holding_time_minutes=10.0),
    row("unprofitable", -4.0, pnl_percentage=-5.0, exit_reason="RANGE_BREAK",
        holding_time_minutes=30.0, symbol="B"),
    row("unprofitable", 0.0, pnl_percentage=0.0, exit_reason="RANGE_BREAK"),
    row("expired"),
    row("cancelled"),
    row("pending"),
]  # fmt: skip


def test_only_closed_trades_have_a_result() -> None:
    found = figures(ROWS)
    assert (found["total"], found["trades"], found["wins"]) == (7, 4, 2)
    assert found["win_rate"] == 0.5
    assert found["pnl_sum"] == 5.0
    assert found["profit_factor"] == pytest.approx(9.0 / 4.0)
    assert found["pnl_percentage_average"] == pytest.approx(0.75)
    assert found["pnl_percentage_median"] == pytest.approx(1.0)
    assert found["holding_minutes_median"] == 20.0
    assert found["outcomes"]["expired"] == 1
    assert found["exit_reasons"] == {"CVD_TREND": 2, "RANGE_BREAK": 2}


def test_every_tier_is_there_and_has_its_own_figures() -> None:
    found = analyse(ROWS)["by_score_tier"]
    assert tuple(found) == TIERS
    assert (found["high"]["total"], found["high"]["win_rate"]) == (1, 1.0)
    assert found["high"]["profit_factor"] is None
    assert found["low"]["win_rate"] == pytest.approx(1 / 3)
    assert (found["medium"]["total"], found["medium"]["win_rate"]) == (0, None)


def test_symbols_and_exit_reasons_are_told_apart() -> None:
    found = analyse(ROWS)
    assert {name: group["trades"] for name, group in found["by_symbol"].items()} == {"A": 3, "B": 1}
    assert found["by_exit_reason"]["RANGE_BREAK"]["pnl_percentage_average"] == -2.5


def test_a_spread_gives_percentiles_of_real_values() -> None:
    assert spread([]) == {}
    found = spread(float(i) for i in range(1, 101))
    assert found == {"count": 100, "median": 50.5, "p90": 91.0, "p99": 100.0, "max": 100.0}
