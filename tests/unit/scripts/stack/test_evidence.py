from __future__ import annotations

from typing import Any

from scripts.stack.audit import Audit
from scripts.stack.check import problems_of
from scripts.stack.evidence import Story, latencies
from services.core.records import Fill, Signal
from tests.signals import entry_fields


def _signal(signal_id: str, published_ms: int, bar_ms: int) -> Signal:
    return Signal(
        **entry_fields(
            bar_ms + 1, signal_id=signal_id, refreshed_ms=published_ms, bar_published_ms=bar_ms
        )
    )


def _fill(signal_id: str, ts_ms: int, event: Any = "opened") -> Fill:
    return Fill(
        event=event, signal_id=signal_id, symbol="BTCUSDT", pair="BTC/USDT:USDT", side="long",
        ts_ms=ts_ms,
    )  # fmt: skip


def _story() -> Story:
    return Story(
        signals={"a": _signal("a", 1010, 1000)},
        opened={"a": {"trade_id": 1}},
        closed={"a": {"trade_id": 1}},
        outcomes={"a": "profitable"},
    )


def test_latencies_are_taken_between_the_right_moments() -> None:
    story = Story(signals={"a": _signal("a", 1010, 1000), "b": _signal("b", 2030, 2000)})
    fills = [_fill("a", 1110), _fill("b", 2330), _fill("a", 9999, "closed"), _fill("x", 5000)]
    found = latencies(story, iter(fills), [200, 220, 250])
    assert found["bar"] == {"median": 220, "p99": 250, "max": 250}
    assert found["signal"] == {"median": 20, "p99": 30, "max": 30}
    assert found["trade"] == {"median": 200, "p99": 300, "max": 300}


def test_no_sample_is_no_latency() -> None:
    assert latencies(Story(), iter([]), [])["trade"] == {"median": None, "p99": None, "max": None}


def test_a_story_is_finished_by_a_closed_trade_with_an_outcome() -> None:
    story = _story()
    assert story.finished == ["a"]
    for outcome in ("pending", "cancelled", "expired"):
        story.outcomes["a"] = outcome
        assert story.finished == []


def test_a_good_run_has_no_problems() -> None:
    assert problems_of({"redis": "healthy"}, _story(), Audit(compared=5)) == []


def test_each_shortcoming_is_a_problem() -> None:
    good = _story()
    stranger = _story()
    stranger.opened["other"] = {"trade_id": 2}
    doubled = _story()
    doubled.repeated.append("signal a was traded 2 times")
    differing = Audit(compared=5)
    differing.differ(("V:x", 7), "missing")
    for states, story, audit in (
        ({"redis": "no answer"}, good, Audit(compared=5)),
        ({}, good, Audit(compared=5)),
        ({"redis": "healthy"}, Story(), Audit(compared=5)),
        ({"redis": "healthy"}, stranger, Audit(compared=5)),
        ({"redis": "healthy"}, doubled, Audit(compared=5)),
        ({"redis": "healthy"}, good, Audit()),
        ({"redis": "healthy"}, good, Audit(compared=5, in_gaps=5)),
        ({"redis": "healthy"}, good, differing),
    ):
        assert len(problems_of(states, story, audit)) == 1
