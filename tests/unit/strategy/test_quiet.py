"""Seconds processed in bulk, in a divergence and in a position, against each processed alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.series import Floats
from services.strategy.types import Entry, Event, Exit, Minute, OpenPosition, Transition

T = 1_200_000
LEAD_MIN = 90
HELD_AFTER_S = 1000
SECONDS = 4000
PRICE = 100.0
PRICES = ("open", "high", "low", "close")

HASTY = Params(
    warm_min=40,
    scale_lag_min=2,
    neff_min=1,
    gap_neff=1,
    ctx_windows=(1, 5, 15),
    ctx_on=0.2,
    ctx_off=0.1,
    div_windows=(5, 1),
    div_leg_z=0.3,
    div_gap_z=0.8,
    div_confirm_s=4,
    rearm_gap=0.2,
    rearm_s=150,
    reset_min_s=60,
    reset_confirm_s=8,
    div_timeout_s=500,
    cooldown_s=130,
)
"""Everything happens within minutes, so that a short market sees every state."""


def minutes(seed: int) -> list[Minute]:
    random = np.random.default_rng(seed)
    found, price = [], PRICE
    for i in range(-LEAD_MIN, 0):
        spot, perp = random.normal(0.0, 60.0, 2).tolist()
        close = PRICE if i == -1 else price * float(np.exp(random.normal(0.0, 4e-4)))
        high, low = max(price, close) * 1.0003, min(price, close) * 0.9997
        found.append(Minute(T + 60 * i, spot, perp, 300.0, 300.0, price, high, low, close))
        price = close
    return found


def seconds(
    seed: int,
    spot_drift: Floats | float = 0.0,
    perp_drift: Floats | float = 0.0,
    degraded: tuple[tuple[int, int], ...] = (),
    direction: int = 1,
) -> Block:
    random = np.random.default_rng(seed)
    spot = random.standard_t(4, SECONDS) * 6.0 + spot_drift
    perp = random.standard_t(4, SECONDS) * 6.0 + perp_drift
    close = PRICE * np.exp(direction * np.cumsum(random.normal(0.0, 4e-5, SECONDS)))
    opened = np.concatenate(([PRICE], close[:-1]))
    distrusted = np.zeros(SECONDS, np.bool_)
    for first, length in degraded:
        distrusted[first : first + length] = True
    volumes = (np.abs(spot), np.abs(perp))
    spans = (np.maximum(opened, close) * 1.00001, np.minimum(opened, close) * 0.99999)
    coverage, frozen = np.where(distrusted, 0.5, 1.0), np.zeros(SECONDS, np.bool_)
    return Block(
        T, spot, perp, *volumes, opened, *spans, close, coverage, distrusted, frozen, lambda _: {}
    )


def part(block: Block, start: int, stop: int) -> Block:
    arrays: dict[str, Any] = {
        name: value[start:stop]
        for name in block.__slots__
        if isinstance(value := getattr(block, name), np.ndarray)
    }
    return dataclasses.replace(block, t=block.t + start, **arrays)


def state(engine: SymbolEngine) -> dict[str, Any]:
    history = engine._history
    window, minute = history.seconds, history.open_minute
    series = (window.c_spot, window.c_perp, window.x, window.high, window.low, window.holes)
    return {
        "snapshot": engine.snapshot(),
        "view": engine.view(),
        "window": [np.diff(window.slice(s, window.length)).tobytes() for s in series],
        "price": (history.close, history.price_moved_t),
        "minute": minute and (minute.x, minute.spot_volume, minute.perp_volume),
    }


def open_position(
    engine: SymbolEngine, direction: int, away: float, spot: float = 0.0
) -> list[Event]:
    """`away`: log distance of the invalidation price. `spot`: CVD since the entry."""
    t, price = engine.t, engine.view()["price"]
    assert t is not None
    known = OpenPosition(
        t,
        direction,
        t - 400,
        price,
        spot_since_entry=direction * spot,
        invalidation_price=price * float(np.exp(-direction * away)),
    )
    return engine.adopt(known)


def compare(
    block: Block,
    params: Params,
    pieces: list[int],
    hold: Callable[[SymbolEngine], list[Event]] | None = None,
) -> tuple[list[Event], Counter[str]]:
    """Assert that skipping equals stepping; the events, and seconds skipped in each state.

    `hold` opens a position some time after the beginning.
    """
    plain, quick = SymbolEngine("BTC", params, epoch="e"), SymbolEngine("BTC", params, epoch="e")
    events: tuple[list[Event], list[Event]] = ([], [])
    for engine in (plain, quick):
        engine.preload_minutes(minutes(1))
    at, skipped, sizes = 0, Counter[str](), cycle(pieces)
    while at < len(block):
        if hold is not None and at >= HELD_AFTER_S:
            for engine, seen in zip((plain, quick), events, strict=True):
                seen += hold(engine)
            hold = None
        ahead = SECONDS if hold is None else HELD_AFTER_S - at
        before = str(quick.state)
        taken = quick.skip(part(block, at, min(len(block), at + min(next(sizes), ahead))))
        for i in range(at, at + taken):
            events[0].extend(plain.step(block.second(i)))
        if taken:
            assert state(quick) == state(plain)
        skipped[before] += taken
        at += taken
        if at < len(block):
            for engine, seen in zip((plain, quick), events, strict=True):
                step(engine, block, at, seen)
            at += 1
        assert events[0] == events[1]
    assert state(quick) == state(plain)
    return events[1], skipped


def step(engine: SymbolEngine, block: Block, at: int, seen: list[Event]) -> None:
    """One second; entries are left alone, exits filled at once."""
    for event in engine.step(block.second(at)):
        seen.append(event)
        if isinstance(event, Entry):
            seen += engine.expire()
        elif isinstance(event, Exit):
            seen += engine.position_closed(event.t, event.reason)


def late(value: float, from_s: int = HELD_AFTER_S) -> Floats:
    """A drift from some second on."""
    return np.where(np.arange(SECONDS) < from_s, 0.0, value)


EASY = dataclasses.replace(HASTY, exit_flow_z=0.4, exit_perp_z=0.1, cti_z=0.4, cti_fast_z=0.05)
NO_FLOW = dataclasses.replace(HASTY, exit_flow_z=99.0, giveback_min_z=99.0, cti_z=99.0, ctx_on=9.0)

# parameters, drift of spot and perp in the direction of the position, distance of the invalidation
# price, spot CVD since the entry, untrusted seconds
EXITS: dict[str, tuple[Params, float, float, float, float, tuple[tuple[int, int], ...]]] = {
    "RANGE_BREAK": (NO_FLOW, 0.0, 0.0, 0.001, 0.0, ()),
    "FLOW_REVERSAL": (EASY, -4.0, 2.5, 0.05, 0.0, ()),
    "FLOW_REVERSAL_GIVEBACK": (
        dataclasses.replace(EASY, exit_flow_z=99.0, giveback_perp_z=0.1, ctx_on=9.0),
        -2.0,
        4.0,
        0.05,
        2500.0,
        (),
    ),
    "LTF_INVALIDATION": (
        dataclasses.replace(NO_FLOW, ctx_on=0.2, ltf_confirm_s=200),
        -5.0,
        5.0,
        0.05,
        0.0,
        (),
    ),
    "CVD_TREND": (dataclasses.replace(EASY, ctx_on=9.0), -4.0, -4.0, 0.05, 0.0, ()),
    "MAX_HOLD": (dataclasses.replace(NO_FLOW, max_hold_s=1700), 0.0, 0.0, 0.05, 0.0, ()),
    "DATA_LOSS": (
        dataclasses.replace(NO_FLOW, gap_exit_s=45),
        0.0,
        0.0,
        0.05,
        0.0,
        ((1500, 30), (2000, 46)),
    ),
}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("reason", EXITS)
def test_a_position_is_skipped_up_to_its_exit(reason: str, direction: int) -> None:
    params, spot, perp, away, since, degraded = EXITS[reason]
    block = seconds(5, late(direction * spot), late(direction * perp), degraded, direction)
    events, skipped = compare(
        block, params, [3840], lambda e: open_position(e, direction, away, since)
    )
    exits = [e for e in events if isinstance(e, Exit)]
    assert [e.reason for e in exits] == [reason]
    held_s = exits[0].t - T - HELD_AFTER_S
    assert held_s > 30
    assert skipped["IN_POSITION"] > 0.6 * held_s


drifts = st.sampled_from((-5.0, -2.0, -0.5, 0.0, 0.5, 2.0, 5.0))


@given(
    seed=st.integers(0, 2**32 - 1),
    direction=st.sampled_from((1, -1)),
    drift=st.tuples(drifts, drifts),
    away=st.sampled_from((0.0001, 0.0005, 0.002, 0.05)),
    since=st.sampled_from((-2000.0, 0.0, 2000.0)),
    params=st.builds(
        dataclasses.replace,
        st.sampled_from((HASTY, EASY, NO_FLOW)),
        max_hold_s=st.sampled_from((0, 700)),
        rb_confirm_s=st.sampled_from((1, 10, 70)),
        exit_confirm_s=st.sampled_from((1, 30, 130)),
        ltf_confirm_s=st.sampled_from((1, 60, 300)),
        gap_exit_s=st.sampled_from((1, 2, 40)),
        cti_fast_z=st.sampled_from((0.0, 0.05, 0.5)),
        hole_max=st.sampled_from((0.0, 0.1)),
        lookback_s=st.sampled_from((1200, 14_400)),
    ),
    degraded=st.lists(
        st.tuples(st.integers(0, SECONDS), st.sampled_from((1, 20, 61))), max_size=3
    ).map(tuple),
    pieces=st.lists(st.sampled_from((1, 59, 60, 61, 300, 3840)), min_size=1, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_skipping_in_any_position_gives_the_same_events_and_state(
    seed: int,
    direction: int,
    drift: tuple[float, float],
    away: float,
    since: float,
    params: Params,
    degraded: tuple[tuple[int, int], ...],
    pieces: list[int],
) -> None:
    block = seconds(seed, late(drift[0]), late(drift[1]), degraded)
    compare(block, params, pieces, lambda e: open_position(e, direction, away, since))


@pytest.mark.parametrize("seed", range(4))
def test_a_divergence_is_skipped_across_minutes_until_it_ends(seed: int) -> None:
    wave = 6.0 * np.sin(np.arange(SECONDS) / 150.0)
    events, skipped = compare(seconds(seed, wave, -wave), HASTY, [3840])
    ended = Counter(
        e.reason for e in events if isinstance(e, Transition) and e.previous == "DIVERGENCE"
    )
    assert sum(ended.values()) > 2
    assert skipped["DIVERGENCE"] > 60


@pytest.mark.parametrize("still", ["spot", "price"])
@pytest.mark.parametrize(("held", "period", "stop"), [(False, 400.0, 1500), (True, 150.0, 1200)])
def test_a_market_that_stops_moving_is_skipped_as_it_is_stepped(
    still: str, held: bool, period: float, stop: int
) -> None:
    wave = 6.0 * np.sin(np.arange(SECONDS) / period)
    block = seconds(0, wave, -wave)
    last = {name: getattr(block, name).copy() for name in PRICES}
    if still == "spot":
        last = {"spot_delta": block.spot_delta.copy()}
    for values in last.values():
        values[stop:] = 0.0 if still == "spot" else block.close[stop - 1]
    # A leg has no scale any more once it has stood still for half of the history.
    params = dataclasses.replace(
        HASTY, hist_min=45, lookback_s=1200, gap_exit_s=5000, reset_confirm_s=200
    )
    hold = (lambda engine: open_position(engine, 1, 0.05)) if held else None
    _, skipped = compare(dataclasses.replace(block, **last), params, [3840], hold)
    assert sum(skipped.values()) > 1000


def test_a_context_that_turns_in_a_divergence_ends_it_in_the_same_second() -> None:
    ended: Counter[str] = Counter()
    for seed in range(6):
        wave = 6.0 * np.sin(np.arange(SECONDS) / 90.0)
        events, _ = compare(seconds(seed, wave, -wave), HASTY, [3840])
        moves = (e for e in events if isinstance(e, Transition) and e.previous == "DIVERGENCE")
        ended += Counter(e.reason for e in moves)
    assert ended["context"] > 0
