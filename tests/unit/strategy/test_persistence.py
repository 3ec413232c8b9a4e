"""A process that dies and starts again decides as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.types import Cancelled, Entry, Event, Exit, Minute, State, Transition
from tests.unit.strategy.conftest import Paused, market_of
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT, Market

FILL_EVERY_S = 40
CLOSE_EVERY_S = 50
WINDOW_S = 14_400


def drive(engine: SymbolEngine, market: Market, first: int, stop: int) -> list[Event]:
    """Run with a slow execution engine that, like the real one, only sees the engine's state."""
    events: list[Event] = []
    for second in market.seconds(first, stop):
        for event in engine.step(second):
            events.append(event)
            if isinstance(event, Entry):
                events += engine.accept(event.setup_id)
        if engine.state is State.ENTRY_READY and second.t % FILL_EVERY_S == 0:
            events += engine.filled(second.t - 2, 1, second.close)
        elif engine.state is State.CLOSING and second.t % CLOSE_EVERY_S == 0:
            events += engine.position_closed(second.t, "closed")
    return events


def minutes(market: Market, stop: int) -> list[Minute]:
    """The first `stop` seconds of a market, rolled up."""
    shape = (stop // 60, 60)

    def total(column: Any) -> list[float]:
        sums: list[float] = column[:stop].reshape(shape).sum(axis=1).tolist()
        return sums

    price = {
        "open": market.open[:stop:60],
        "high": market.high[:stop].reshape(shape).max(axis=1),
        "low": market.low[:stop].reshape(shape).min(axis=1),
        "close": market.x[59:stop:60],
    }
    prices = [np.exp(column).tolist() for column in price.values()]
    rows = zip(
        total(market.spot_delta),
        total(market.perp_delta),
        total(market.spot_volume),
        total(market.perp_volume),
        *prices,
        strict=True,
    )
    return [Minute(market.start + 60 * i, *row) for i, row in enumerate(rows)]


def restarted(snapshot: dict[str, Any], market: Market, stop: int) -> SymbolEngine:
    """A new engine with history up to index `stop`, as a database would supply it."""
    engine = SymbolEngine("BTC")
    border = max(0, stop - WINDOW_S) // 60 * 60
    engine.preload_minutes(minutes(market, border))
    engine.preload_seconds(market.seconds(border, stop))
    engine.restore(json.loads(json.dumps(snapshot, allow_nan=False)))
    return engine


def comparable(event: Event) -> tuple[Any, ...]:
    if isinstance(event, Transition):
        return (event.t, event.previous, event.state, event.reason, event.direction)
    if isinstance(event, Entry):
        return (event.t, event.setup_id, round(event.score, 6), round(event.stop_distance or 0, 9))
    if isinstance(event, Exit | Cancelled):
        return (event.t, event.reason)
    return (event.t,)


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[Event], dict[State, tuple[int, dict[str, Any]]]]:
    """Events of S1, and a snapshot from the middle of each state it passes."""
    market = market_of("S1")
    events = drive(SymbolEngine("BTC"), market, 0, len(market))
    moves = [event for event in events if isinstance(event, Transition)]
    cuts = {State.WARMUP: 9_000}
    for move, following in pairwise(moves):
        cuts.setdefault(move.state, (move.t + following.t) // 2 - MIDNIGHT)
    engine, done, taken = SymbolEngine("BTC"), 0, {}
    for state, cut in sorted(cuts.items(), key=lambda item: item[1]):
        drive(engine, market, done, cut + 1)
        taken[state] = (cut + 1, engine.snapshot())
        done = cut + 1
    return events, taken


@pytest.mark.parametrize("state", list(State))
def test_P6_a_restart_in_any_state_changes_nothing(
    state: State, uninterrupted: tuple[list[Event], dict[State, tuple[int, dict[str, Any]]]]
) -> None:
    events, taken = uninterrupted
    stop, snapshot = taken[state]
    assert snapshot["state"] == state
    market = market_of("S1")
    engine = restarted(snapshot, market, stop)
    after = drive(engine, market, stop, len(market))
    expected = [event for event in events if event.t >= MIDNIGHT + stop]
    assert [comparable(event) for event in after] == [comparable(event) for event in expected]


def test_a_restart_without_a_snapshot_reaches_the_same_setup() -> None:
    market = market_of("S1")
    stop = LEAD_S + 2000
    border = stop - WINDOW_S - (stop % 60)
    engine = SymbolEngine("BTC")
    engine.preload_minutes(minutes(market, border))
    drive(engine, market, border, stop)
    assert engine.state is State.DIVERGENCE
    assert engine.view()["reset"]["setup_id"] == f"BTC:long:{MIDNIGHT + LEAD_S + 1180}"


def test_holes_and_freezes_survive(paused: Callable[[str], Paused]) -> None:
    at = paused("watching")
    for i, second in enumerate(at.seconds(400)):
        at.engine.step(second._replace(degraded=100 <= i < 400, composition_frozen=i == 50))
    stop = at.next_index
    engine = restarted(at.engine.snapshot(), market_of("S1"), stop)
    assert engine.snapshot() == at.engine.snapshot()
    market = market_of("S1")
    expected = drive(at.engine, market, stop, stop + 2600)
    assert [comparable(e) for e in drive(engine, market, stop, stop + 2600)] == [
        comparable(e) for e in expected
    ]
    assert expected


def test_a_snapshot_of_another_second_or_symbol_is_refused(
    paused: Callable[[str], Paused],
) -> None:
    at = paused("RESET")
    snapshot = at.engine.snapshot()
    with pytest.raises(ValueError, match="history ends at None"):
        SymbolEngine("BTC").restore(snapshot)
    with pytest.raises(ValueError, match="snapshot is not of ETH"):
        SymbolEngine("ETH").restore(snapshot)


def test_minutes_must_be_without_gaps_and_before_the_seconds() -> None:
    rows = minutes(market_of("S1"), 600)
    with pytest.raises(ValueError, match="does not follow"):
        SymbolEngine("BTC").preload_minutes(rows[:3] + rows[4:])
    engine = SymbolEngine("BTC")
    engine.preload_minutes(rows)
    with pytest.raises(ValueError, match="does not follow"):
        engine.step(next(market_of("S1").seconds(601, 602)))
    engine.step(next(market_of("S1").seconds(600, 601)))
    with pytest.raises(ValueError, match="before the first second"):
        engine.preload_minutes(rows)
