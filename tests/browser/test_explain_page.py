from __future__ import annotations

from pathlib import Path

from services.explain.compare import compare
from services.explain.decision import Explanation
from services.explain.page import document
from services.explain.replay import Rebuilt
from services.explain.store import Stored
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.run import run
from services.strategy.types import Entry, Transition
from services.web.page import page
from tests.browser.browser import Tab
from tests.unit.strategy import scenarios


def explanation() -> Explanation:
    """The entry of a scenario, rebuilt without a difference."""
    seconds = list(scenarios.generate(scenarios.SCENARIOS["S3"]).seconds())
    events = list(run(SymbolEngine("BTC"), seconds))
    entry = next(event for event in events if isinstance(event, Entry))
    signal = Stored(
        signal_id="0123abcd",
        symbol="BTCUSDT",
        action="LONG",
        ts_ms=(entry.t + 1) * 1000,
        t=entry.t,
        setup_id=entry.setup_id,
        score=entry.score,
        decision=dict(entry.record),
    )
    rebuilt = Rebuilt(
        Params(),
        first_s=seconds[0].t,
        t=entry.t,
        record=dict(entry.record),
        seconds=[second for second in seconds if second.t <= entry.t + 600],
        moves=[e for e in events if isinstance(e, Transition) and e.t <= entry.t],
    )
    return Explanation(signal, rebuilt, compare(signal, rebuilt))


async def test_the_window_of_a_decision_is_drawn(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "why.html"
    path.write_text(page(document(explanation())), encoding="utf-8")
    await tab.open(path)
    assert "comes out the same" in await tab.text(".verdict")
    groups = await tab.evaluate("[...document.querySelectorAll('tr.group')].map(e => e.innerText)")
    assert groups[:4] == ["1 Context", "2 Divergence", "3 Reset", "4 Score and trigger"]
    titles = await tab.evaluate("[...document.querySelectorAll('.legend b')].map(e => e.innerText)")
    assert titles == ["BTCUSDT", "", "CVD", "Open interest"]
    await tab.size(390, 844, phone=True)
    await tab.settled()
    assert await tab.evaluate("document.documentElement.scrollWidth") <= 390
