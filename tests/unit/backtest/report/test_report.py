from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.backtest.report import document, render
from services.backtest.report.charts import MAX_BARS, axis_of, jumps, markets
from services.backtest.result import Candles, Refusal
from services.strategy.params import Params
from services.web.document import Table
from tests.unit.backtest.report import samples
from tests.unit.backtest.report.samples import MIDNIGHT

WEEK_MIN = 7 * 1440


def embedded(path: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="document">(.*?)</script>',
        path.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


def table(tables: list[Table], title: str) -> Table:
    return next(each for each in tables if each.title == title)


def flat(count: int, step_s: int, first_s: int = MIDNIGHT) -> Candles:
    """Candles whose high and low tell their number."""
    return Candles(
        symbol="BTCUSDT",
        step_s=step_s,
        t=[first_s + i * step_s for i in range(count)],
        open=[100.0 + i for i in range(count)],
        high=[200.0 + i for i in range(count)],
        low=[50.0 - i * 1e-3 for i in range(count)],
        close=[101.0 + i for i in range(count)],
        spot_cvd=[float(i) for i in range(count)],
        perp_cvd=[-float(i) for i in range(count)],
        spot_volume=[1.0] * count,
        perp_volume=[1.0] * count,
        oi=[None] * count,
    )


def test_a_week_of_minutes_with_a_thousand_trades_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    render(samples.of_trades(1000, WEEK_MIN), path)
    assert path.stat().st_size < 3_000_000
    shown = embedded(path)
    assert shown["markets"][0]["count"] == WEEK_MIN
    assert len(shown["tables"][0]["rows"]) == len(shown["jumps"]) == 1000


def test_too_many_candles_are_joined_and_lose_no_extreme() -> None:
    candles = flat(40_000, 60)
    axis = axis_of(candles)
    assert axis.count <= MAX_BARS
    found = samples.result(candles, [], [])
    joined = markets(found)[0].panels[0].candles
    assert joined is not None
    per_bar = axis.step // 60
    assert joined.open[0] == candles.open[0]
    assert joined.high[0] == candles.high[per_bar - 1]
    assert joined.low[0] == pytest.approx(candles.low[per_bar - 1])
    assert joined.close[-1] == candles.close[-1]


def test_missing_candles_leave_room_on_the_axis() -> None:
    whole = flat(10, 60)
    kept = [0, 1, 2, 7, 8, 9]
    columns = {
        name: [getattr(whole, name)[i] for i in kept]
        for name in Candles.__struct_fields__
        if name not in ("symbol", "step_s")
    }
    candles = Candles(symbol="BTCUSDT", step_s=60, **columns)
    shown = markets(samples.result(candles, [], []))[0]
    assert shown.count == 10
    prices = shown.panels[0].candles
    assert prices is not None
    assert [i for i, value in enumerate(prices.close) if value is None] == [3, 4, 5, 6]


def test_the_worst_drawdown_survives_joining() -> None:
    result = samples.of_trades(0, 40_000)
    drawdown = [0.0] * 40_000
    drawdown[12_345] = -0.5
    curve = msgspec.structs.replace(result.curve, drawdown=drawdown)
    shown = markets(msgspec.structs.replace(result, curve=curve))[0]
    line = next(p for p in shown.panels if p.title == "Drawdown").lines[0]
    assert min(v for v in line.values if v is not None) == -0.5


def test_equity_of_a_bar_is_the_newest_known_at_its_end() -> None:
    result = samples.of_trades(3, 600)
    shown = markets(result)[0]
    line = next(p for p in shown.panels if p.title == "Equity").lines[0]
    assert line.values == [float(f"{v:.8g}") for v in result.curve.equity]


def test_each_row_of_the_trades_leads_to_its_own_chart() -> None:
    one, other = samples.of_trades(2, 300), samples.of_trades(1, 300)
    trade = msgspec.structs.replace(other.trades[0], symbol="ETHUSDT")
    candles = msgspec.structs.replace(other.candles[0], symbol="ETHUSDT")
    result = msgspec.structs.replace(
        one,
        symbols=["BTCUSDT", "ETHUSDT"],
        candles=[*one.candles, candles],
        trades=[one.trades[0], trade, one.trades[1]],
    )
    assert jumps(result) == [(0, 0), (1, 0), (0, 1)]
    assert [len(market.trades) for market in markets(result)] == [2, 1]
    assert markets(result)[1].trades[0].from_s == trade.entry_ms / 1000


def test_without_open_interest_there_is_no_panel_for_it() -> None:
    candles = flat(10, 60)
    titles = [panel.title for panel in markets(samples.result(candles, [], []))[0].panels]
    assert "Open interest" not in titles


def test_assumptions_name_costs_data_and_changed_parameters() -> None:
    result = samples.of_trades(1, 100, overrides={"min_score": 3.5})
    rows = dict(table(document(result).tables, "Assumptions and data").rows)
    assert rows["Fee"].startswith("0.05 %")
    assert rows["min_score"] == f"3.5 (default {Params().min_score})"
    assert "BYBIT:BTCUSDT" in rows["Perp"]
    assert rows["Gaps"] == "37 s, summed over markets"


def test_refusals_are_counted_by_reason() -> None:
    refusals = [
        Refusal(symbol="BTCUSDT", t=1, by="validator", reason=reason)
        for reason in ("COOLDOWN", "COOLDOWN", "RISK_LIMIT")
    ]
    shown = table(document(samples.of_trades(0, 50, refusals=refusals)).tables, "Signals")
    assert shown.rows == [["validator: cooldown", 2], ["validator: risk limit", 1]]


def test_warnings_and_alerts_stand_above_the_chart() -> None:
    result = samples.of_trades(1, 50, warnings=["few trades"], alerts=["stop"])
    assert document(result).warnings == ["few trades", "stop"]


def test_every_row_has_a_value_for_every_column() -> None:
    for shown in document(samples.of_scenario("S2")).tables:
        assert {len(row) for row in shown.rows} <= {len(shown.columns)}, shown.title
        assert shown.groups is None or len(shown.groups) == len(shown.rows)


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("x" * 5_000_000)
    render(samples.of_trades(0, 10), path)
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
