"""Seconds processed in bulk against each processed alone, in a market made for it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection
from itertools import cycle
from typing import Any

import numpy as np

from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.series import Floats
from services.strategy.types import Entry, Event, Exit, Minute, OpenPosition
from tests.unit.strategy.hasty import BRISK

T = 1_200_000
LEAD_MIN = 90
HELD_AFTER_S = 1000
SECONDS = 4000
PRICE = 100.0

HASTY = dataclasses.replace(
    BRISK,
    ctx_windows=(1, 5, 15),
    ctx_on=0.2,
    ctx_off=0.1,
    div_gap_z=0.8,
    reset_min_s=60,
    reset_confirm_s=8,
    div_timeout_s=500,
)
"""Everything happens within minutes, but divergences and positions last for many seconds."""

EASY = dataclasses.replace(HASTY, exit_flow_z=0.4, exit_perp_z=0.1, cti_z=0.4, cti_fast_z=0.05)
NO_FLOW = dataclasses.replace(HASTY, exit_flow_z=99.0, giveback_min_z=99.0, cti_z=99.0, ctx_on=9.0)


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
    changed: Collection[int] = (),
) -> Block:
    """`changed`: seconds in which the set of markets changes."""
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
    frozen[list(changed)] = True
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


def come_and_gone(engine: SymbolEngine) -> list[Event]:
    """A position that is closed in the same second."""
    opened = open_position(engine, 1, 0.05)
    assert engine.t is not None
    return opened + engine.position_closed(engine.t, "by hand")


def compare(
    block: Block,
    params: Params,
    pieces: list[int],
    hold: Callable[[SymbolEngine], list[Event]] | None = None,
    *,
    held_after_s: int = HELD_AFTER_S,
    lead: Callable[[], list[Minute]] = lambda: minutes(1),
) -> tuple[list[Event], Counter[str]]:
    """Assert that skipping equals stepping; the events, and seconds skipped in each state.

    `hold` opens a position some time after the beginning. `lead`: the minutes before it.
    """
    plain, quick = SymbolEngine("BTC", params, epoch="e"), SymbolEngine("BTC", params, epoch="e")
    events: tuple[list[Event], list[Event]] = ([], [])
    for engine in (plain, quick):
        engine.preload_minutes(lead())
    at, skipped, sizes = 0, Counter[str](), cycle(pieces)
    while at < len(block):
        if hold is not None and at >= held_after_s:
            for engine, seen in zip((plain, quick), events, strict=True):
                seen += hold(engine)
            hold = None
        ahead = SECONDS if hold is None else held_after_s - at
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
