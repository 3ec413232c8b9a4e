from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite, nan
from typing import Any

import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.types import Entry, Exit, Minute, OpenPosition, Second, State, Transition
from tests.unit.strategy.conftest import Paused, events_of, market_of
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT

ORIGIN = MIDNIGHT + LEAD_S
W, D, R, E, P, C, X = (
    State.WATCHING,
    State.DIVERGENCE,
    State.RESET,
    State.ENTRY_READY,
    State.IN_POSITION,
    State.CLOSING,
    State.COOLDOWN,
)
# Direction, then the seconds of divergence, reset (and its type), entry, exit and its reason,
# the score and its parts, size factor and leverage.
TRADES = [
    ("S1", 1, 1180, 2935, "A", 3146, 5613, "FLOW_REVERSAL_GIVEBACK",
     6.34, (2.56, 1.01, 1.40, 1.38, 0.0), 1.0, 3),
    ("S2", 1, 1180, 2768, "B", 2773, 4353, "CVD_TREND",
     4.87, (1.50, 1.38, 0.0, 2.00, 0.0), 0.5, 2),
    ("S3", 1, 1180, 2935, "A", 3146, 3971, "RANGE_BREAK",
     8.34, (2.56, 1.01, 1.40, 1.38, 2.0), 1.5, 5),
    ("S4", -1, 1180, 2935, "A", 3146, 6418, "LTF_INVALIDATION",
     6.34, (2.56, 1.01, 1.40, 1.38, 0.0), 1.0, 3),
    ("S5", -1, 1180, 2768, "B", 2773, 3239, "FLOW_REVERSAL",
     4.87, (1.50, 1.38, 0.0, 2.00, 0.0), 0.5, 2),
]  # fmt: skip


def transitions(name: str) -> list[tuple[int, State, State]]:
    return [
        (event.t - ORIGIN, event.previous, event.state)
        for event in events_of(name)
        if isinstance(event, Transition) and event.t >= ORIGIN
    ]


@pytest.mark.parametrize("expected", TRADES, ids=lambda row: str(row[0]))
def test_S1_to_S5_a_squeeze_is_traded_to_the_second(expected: tuple[Any, ...]) -> None:
    name, direction, div, reset, kind, entered, left, reason, score, parts, factor, leverage = (
        expected
    )
    path = transitions(name)
    assert path[:6] == [
        (div, W, D),
        (reset, D, R),
        (entered, R, E),
        (entered, E, P),
        (left, P, C),
        (left, C, X),
    ]
    entries = [event for event in events_of(name) if isinstance(event, Entry)]
    exits = [event for event in events_of(name) if isinstance(event, Exit)]
    assert [event.t - ORIGIN for event in entries] == [entered]
    assert [(event.t - ORIGIN, event.reason) for event in exits] == [(left, reason)]
    entry = entries[0]
    assert (entry.direction, entry.reset_type) == (direction, kind)
    assert entry.score == pytest.approx(score, abs=0.01)
    assert tuple(entry.breakdown.values()) == pytest.approx(parts, abs=0.01)
    assert (entry.size_factor, entry.leverage) == (factor, leverage)
    assert entry.setup_id == f"BTC:{'long' if direction > 0 else 'short'}:{ORIGIN + div}"


def test_rising_open_interest_is_strong() -> None:
    entry = next(event for event in events_of("S3") if isinstance(event, Entry))
    assert entry.oi_state == "STRONG"
    assert entry.oi_z == pytest.approx(5.9, abs=0.05)


def test_S6_a_divergence_that_price_breaks_is_never_traded() -> None:
    assert transitions("S6") == [(9923, W, D), (11649, D, W)]
    last = events_of("S6")[-1]
    assert isinstance(last, Transition)
    assert last.reason == "broke"


@pytest.mark.parametrize("name", ["S1", "S5"])
def test_the_closing_flow_opens_an_opposite_divergence_after_the_cooldown(name: str) -> None:
    events = [event for event in events_of(name) if isinstance(event, Transition)]
    cooled = next(event for event in events if event.previous is X)
    closed = next(event for event in events if event.state is X)
    assert cooled.t - closed.t == 900
    assert events[-1].state is D
    assert events[-1].direction == -closed.direction


def test_stop_and_invalidation_lie_on_the_losing_side_and_the_stop_farther() -> None:
    for name in ("S1", "S2", "S3", "S4", "S5"):
        entry = next(event for event in events_of(name) if isinstance(event, Entry))
        assert entry.direction * (entry.entry_price - entry.invalidation_price) > 0
        assert entry.stop_distance is not None
        distance = abs(entry.invalidation_price / entry.entry_price - 1.0)
        assert entry.stop_distance > distance


def all_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(all_finite(inner) for inner in value.values())
    return not isinstance(value, float) or isfinite(value)


def test_records_of_entry_and_exit_are_json_with_finite_floats() -> None:
    for event in events_of("S1"):
        if isinstance(event, Entry | Exit):
            assert all_finite(event.record)
            assert json.loads(json.dumps(event.record, allow_nan=False)) == event.record
            assert event.record["t"] == event.t
            assert {"context", "divergence", "reset", "score", "exit"} <= set(event.record)


def test_the_view_of_a_cold_engine_is_json() -> None:
    engine = SymbolEngine("BTC")
    assert json.dumps(engine.view(), allow_nan=False)
    for second in market_of("S1").seconds(0, 3):
        engine.step(second)
    assert engine.view()["state"] == "WARMUP"


def second_at(t: int, **changes: Any) -> Second:
    return Second(t, 1.0, 1.0, 2.0, 2.0, 10.0, 11.0, 9.0, 10.0)._replace(**changes)


def test_a_missing_second_is_an_error() -> None:
    engine = SymbolEngine("BTC")
    engine.step(second_at(60))
    with pytest.raises(ValueError, match="62 does not follow second 60"):
        engine.step(second_at(62))


@pytest.mark.parametrize(
    "changes", [{"spot_delta": nan}, {"perp_volume": float("inf")}, {"low": 0.0}, {"high": 9.5}]
)
def test_a_bad_value_is_an_error_and_leaves_no_trace(changes: dict[str, float]) -> None:
    engine = SymbolEngine("BTC")
    engine.step(second_at(60))
    with pytest.raises(ValueError, match="second 61"):
        engine.step(second_at(61, **changes))
    engine.step(second_at(61))
    assert engine.c_spot == 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t": MIDNIGHT + 61}, "multiple of 60"),
        ({"t": MIDNIGHT + 120}, "does not follow"),
        ({"spot_delta": float("inf")}, "not finite"),
    ],
)
def test_a_bad_minute_is_an_error(changes: dict[str, Any], words: str) -> None:
    minute = Minute(MIDNIGHT, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    following = minute._replace(**({"t": MIDNIGHT + 60} | changes))
    with pytest.raises(ValueError, match=words):
        SymbolEngine("BTC").preload_minutes([minute, following])


def test_an_unanswered_entry_stops_the_engine(paused: Callable[[str], Paused]) -> None:
    at = paused("trigger")
    with pytest.raises(RuntimeError, match="waits for"):
        at.step(1)


def test_anchoring_shifts_the_accumulators_but_not_the_decisions(
    paused: Callable[[str], Paused],
) -> None:
    plain, shifted = paused("RESET"), paused("RESET")
    t = shifted.engine.t
    assert t is not None
    shifted.engine.anchor("new", t, 1e9, -1e9)
    assert (shifted.engine.epoch, shifted.engine.c_spot) == ("new", 1e9)
    expected = next(e for e in plain.step(211) if isinstance(e, Entry))
    entry = next(e for e in shifted.step(211) if isinstance(e, Entry))
    assert entry.t == expected.t
    assert entry.score == pytest.approx(expected.score, abs=1e-6)


def test_anchoring_moves_the_baseline_of_an_open_position_along(
    paused: Callable[[str], Paused],
) -> None:
    plain, shifted = paused("trigger"), paused("trigger")
    for at in (plain, shifted):
        at.engine.accept("id")
        at.engine.filled(at.entry.t, 7, at.entry.entry_price)
        at.step(30)
    t = shifted.engine.t
    assert t is not None
    shifted.engine.anchor("new", t, 1e9, -1e9)
    before, after = (at.engine.view()["exit"]["flows"] for at in (plain, shifted))
    assert after == pytest.approx(before, abs=1e-4)
    assert any(before.values())


def test_the_accumulators_are_told_second_by_second(paused: Callable[[str], Paused]) -> None:
    at = paused("watching")
    before = (at.engine.c_spot, at.engine.c_perp)
    first, second = at.seconds(2)
    at.engine.step(first)
    between = (at.engine.c_spot, at.engine.c_perp)
    at.engine.step(second)
    after = (before[0] + first.spot_delta + second.spot_delta, at.engine.c_perp)
    assert at.engine.cvds(3) == [before, between, after]


def test_anchoring_outside_the_window_is_an_error(paused: Callable[[str], Paused]) -> None:
    with pytest.raises(ValueError, match="not in the window"):
        paused("RESET").engine.anchor("new", MIDNIGHT, 0.0, 0.0)


def test_an_adopted_position_exits_like_the_original() -> None:
    original = next(e for e in events_of("S3") if isinstance(e, Entry))
    market = market_of("S3")
    engine = SymbolEngine("BTC")
    switch = original.t - MIDNIGHT + 400
    for second in market.seconds(0, switch + 1):
        for event in engine.step(second):
            if isinstance(event, Entry):
                engine.expire()
    first = original.t - MIDNIGHT
    known = OpenPosition(
        trade_id=5,
        direction=1,
        entry_t=original.t,
        entry_price=original.entry_price,
        spot_since_entry=float(market.spot_delta[first + 1 : switch + 1].sum()),
        perp_since_entry=float(market.perp_delta[first + 1 : switch + 1].sum()),
        invalidation_price=original.invalidation_price,
        r5=0.001,
    )
    assert [e.state for e in engine.adopt(known) if isinstance(e, Transition)] == [P]
    assert engine.adopt(known) == []
    events = [e for s in market.seconds(switch + 1) for e in engine.step(s)]
    expected = next(e for e in events_of("S3") if isinstance(e, Exit))
    leave = next(e for e in events if isinstance(e, Exit))
    assert (leave.t, leave.reason) == (expected.t, expected.reason)
