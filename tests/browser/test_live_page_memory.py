"""Half an hour of the live page, told twenty times as fast as it happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from services.core.records import Alert
from services.dashboard.protocol import (
    Alerts,
    Flow,
    GapRow,
    Gaps,
    Services,
    Signals,
    Spark,
    Venues,
)
from services.monitor.states import ServiceState
from tests.browser import stage as said
from tests.browser.browser import Tab
from tests.browser.stage import SYMBOLS, Stage, now_ms
from tests.browser.test_live_page_states import signal, trade, trades

MINUTES = 30
RATE = 20
SETTLED_S = 300
GROWN = 2_000_000
ELEMENTS = 400
CVD = "document.querySelector('[data-figure=\"view.c_spot\"]')?.dataset.value"


def everything(i: int, t: int) -> list[Any]:
    """What the server says in a second in which all changes."""
    states = ("WATCHING", "DIVERGENCE", "RESET", "IN_POSITION")
    state, score = states[i // 60 % 4], i % 80 / 10
    seen = said.reset(score) if state == "RESET" else said.view(state)
    ts_ms = now_ms()
    alerts = [
        Alert(level="warning", code="gap", text=f"BYBIT is silent {n}", ts_ms=ts_ms - n * 60_000)
        for n in range(i % 40)
    ]
    flows = {
        str(length): [
            Flow(name, kind, 1_000.0 * i, 900.0 * i)
            for name in ("BINANCE", "OKEX", "BYBIT", f"V{i % 9}")
            for kind in ("spot", "perp")
        ]
        for length in (60, 900, 14_400)
    }
    states_of = ("up", "degraded")
    services = {
        name: ServiceState(
            state=states_of[i // 30 % 2],  # type: ignore[arg-type]
            age_ms=i,
            detail="answered",
        )
        for name in ("redis", "aggr-server", "freqtrade")
    }
    values: list[float | None] = [float(n + i) for n in range(120)]
    ids = [i // 60 - n for n in range(100)]
    rows = [replace(signal(f"{n}"), ts_ms=(t - i + 60 * n) * 1000) for n in ids]
    closed = [
        trade(n, opened_ms=(t - i + 60 * n) * 1000, closed_ms=ts_ms, close_rate=64_000.0)
        for n in ids[:50]
    ]
    gaps = [GapRow(f"OKX:{n}", t - 90 * n, t - 90 * n + 9, "mute", False) for n in range(i % 50)]
    return [
        said.second(t),
        said.board(state, score, 1),
        said.strategy(replace(seen, t=t, c_spot=float(t))),
        Venues(symbol=SYMBOLS[0], ts_ms=ts_ms, t=t, flows=flows),
        trades(closed=closed),
        Signals(ts_ms=ts_ms, rows=rows),
        Services(
            ts_ms=ts_ms, status="healthy", services=services,
            sparks=[Spark(stage, values, values) for stage in ("decide", "settle")],
        ),
        Gaps(symbol=SYMBOLS[0], ts_ms=ts_ms, rows=gaps),
        Alerts(ts_ms=ts_ms, open=alerts[:3], rows=alerts),
    ]  # fmt: skip


async def elements(tab: Tab) -> int:
    count: int = await tab.evaluate("document.getElementsByTagName('*').length")
    return count


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [1, 60])
async def test_half_an_hour_takes_no_more_memory(desktop: Tab, stage: Stage, step: int) -> None:
    lasting_s = MINUTES * 60
    # The server's clock is behind by as much as will be told.
    began = now_ms() // 1000 - lasting_s
    stage.hello = lambda: replace(said.hello(), ts_ms=began * 1000)
    stage.past = lambda symbol, length, from_s, to_s: said.waves(
        symbol, length, from_s, min(to_s, began)
    )
    await desktop.go(stage.url)
    await stage.watching.wait()
    await desktop.marked("chart")
    await desktop.evaluate(f"document.querySelector('#steps [data-choice=\"{step}\"]').click()")
    loop = asyncio.get_running_loop()
    settled, count, start = 0, 0, loop.time()
    for i in range(SETTLED_S + lasting_s):
        await stage.say(*everything(i, began + i))
        await asyncio.sleep(max(0.0, start + i / RATE - loop.time()))
        if i % RATE == 0:
            # What waits to be shown must not be taken for what is kept.
            await desktop.until(f"{CVD} === '{began + i}'")
        if i == SETTLED_S:
            await desktop.settled()
            settled, count = await desktop.heap(), await elements(desktop)
    await desktop.until(f"{CVD} === '{began + i}'")
    await desktop.settled()
    assert await desktop.heap() - settled < GROWN
    assert await elements(desktop) - count < ELEMENTS
