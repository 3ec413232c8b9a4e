"""The bars that the live page builds from history and seconds, in the browser that runs them."""

from __future__ import annotations

import json
from typing import Any

from tests.browser import stage as said
from tests.browser.browser import Tab
from tests.browser.stage import SYMBOLS, Stage, now_ms, waves

MODULES = """
const { Bars } = await import("/assets/bars.js");
const { Seconds, RING_S, blank } = await import("/assets/seconds.js");
const { overlays } = await import("/assets/overlays.js");
"""


async def result(tab: Tab, stage: Stage, script: str, **values: Any) -> Any:
    """What a script that uses the page's modules returns."""
    await tab.go(f"{stage.url}/login")
    await tab.until("location.pathname === '/login' && document.readyState === 'complete'")
    names = "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())
    return await tab.evaluate(f"(async () => {{ {MODULES} {names} {script} }})()")


def past(step: int, from_s: int, to_s: int) -> dict[str, Any]:
    """Columns of history, as the server sends them."""
    history = waves(SYMBOLS[0], step, from_s, to_s)
    return {name: getattr(history, name) for name in history.__struct_fields__}


async def test_cvds_are_zero_where_they_are_told_to_be_and_older_bars_keep_their_level(
    desktop: Tab, stage: Stage
) -> None:
    edge = now_ms() // 60_000 * 60
    found = await result(
        desktop, stage,
        """
        const bars = new Bars(60, newer.t[0], zero).append(newer);
        bars.rebase();
        const before = [...bars.cumSpot];
        const added = bars.prepend(older);
        return { added, same: bars.cumSpot.slice(added).every((v, i) => v === before[i]),
          zero: bars.cumSpot[bars.index(zero) - 1], last: bars.cumSpot.at(-1),
          lastPerp: bars.cumPerp.at(-1), first: bars.cumSpot[0], length: bars.length };
        """,
        newer=past(60, edge - 3_600, edge), older=past(60, edge - 7_200, edge - 3_600),
        zero=edge - 1_800,
    )  # fmt: skip
    assert found == {
        "added": 60, "same": True, "zero": 0, "length": 120,
        "last": 1_800_000, "lastPerp": -900_000, "first": -5_340_000,
    }  # fmt: skip


async def test_the_gap_is_in_the_strategys_scales(desktop: Tab, stage: Stage) -> None:
    edge = now_ms() // 60_000 * 60
    found = await result(
        desktop, stage,
        """
        const bars = new Bars(60, rows.t[0], rows.t[0]).append(rows);
        const scales = { spot: 400000, perp: 300000, gap: 1.5 };
        return [bars.gap(59, 30, scales), bars.gap(29, 30, scales), bars.gap(59, 0.5, scales)]
          .map((v) => (Number.isNaN(v) ? null : v));
        """,
        rows=past(60, edge - 3_600, edge),
    )  # fmt: skip
    spot, perp = 30 * 60 * 1_000 / 400_000, -30 * 60 * 500 / 300_000
    assert found == [(spot - perp) / 1.5, None, None]


async def test_a_later_second_replaces_and_the_past_does_not(desktop: Tab, stage: Stage) -> None:
    found = await result(
        desktop, stage,
        """
        const row = (close, spot) => (
          { ...blank(), open: close, high: close, low: close, close, spot });
        const seconds = new Seconds();
        seconds.put(100, row(10, 5), true);
        seconds.put(101, row(12, 5), true);
        seconds.put(101, row(11, 7), true);
        seconds.put(100, row(99, 99), false);
        seconds.put(102, { ...blank(), spot: 1 }, false);
        const sum = seconds.sum(100, 103, blank());
        const missing = [seconds.missing(100, 103), seconds.missing(99, 103)];
        seconds.put(100 + RING_S, row(1, 1), true);
        return { open: sum.open, high: sum.high, close: sum.close, spot: sum.spot, missing,
          kept: [seconds.has(100), seconds.has(101), seconds.put(50, row(1, 1), true)] };
        """,
    )  # fmt: skip
    assert found == {
        "open": 10, "high": 11, "close": 11, "spot": 13, "missing": [None, 99],
        "kept": [False, True, False],
    }  # fmt: skip


async def test_a_revised_second_and_one_that_was_missed_change_the_chart(
    desktop: Tab, stage: Stage
) -> None:
    await desktop.go(stage.url)
    await stage.watching.wait()
    await desktop.marked("chart")
    t = now_ms() // 1000
    close = "document.querySelector('.legend').innerText"
    for price in (65_001.5, 65_432.5):
        told = said.second(t)
        bar = (price, price, price, price)
        values = {name: getattr(told, name) for name in told.__struct_fields__}
        await stage.say(type(told)(**{**values, "bar": bar}))
        await desktop.until(f"{close}.includes('C {price:,.1f}')")
    asked = len(stage.asked)
    # Three seconds are passed over: they are asked for.
    await stage.say(said.second(t + 4))
    while not any(query["step"] == "1" for query in stage.asked[asked:]):
        await desktop.settled()


async def test_four_hours_of_five_seconds_are_shown_at_once(desktop: Tab, stage: Stage) -> None:
    await desktop.go(stage.url)
    await stage.watching.wait()
    await desktop.marked("chart")
    await desktop.evaluate("document.querySelector('#steps [data-choice=\"5\"]').click()")
    await desktop.until("!document.querySelector('#chart').classList.contains('loading')")
    await desktop.evaluate("document.querySelector('#four-hours').click()")
    await desktop.until("document.querySelector('#seen').innerText.includes('(4 h')")
    assert await desktop.text("#steps [aria-pressed=true]") == "5s"
    query = next(query for query in stage.asked if query["step"] == "5")
    assert int(query["to"]) - int(query["from"]) >= 14_400


async def test_a_gap_of_forced_orders_marks_the_liquidations_alone(
    desktop: Tab, stage: Stage
) -> None:
    rows = [
        {"market": "A", "from_s": 10, "to_s": 20, "reason": "disconnect"},
        {"market": "B", "from_s": 15, "to_s": 30, "reason": "start"},
        {"market": "C", "from_s": 25, "to_s": 60, "reason": "liquidations"},
    ]
    found = await result(
        desktop, stage,
        """
        const markers = { trades: new Map(), signals: new Map() };
        const { gaps, forcedGaps } = overlays({ markers, view: null, gaps: rows, now: 99 });
        return [gaps, forcedGaps];
        """,
        rows=rows,
    )  # fmt: skip
    assert found == [[{"from": 10, "to": 30}], [{"from": 10, "to": 60}]]
