"""How far a symbol is from the next step of the method, and why it has not come yet.

For people: read from the state after a second, and no decision rests on it. A step is taken in the
first second in which all its conditions are met.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from services.strategy.condition import (
    GUARD,
    Condition,
    clock,
    flag,
    held,
    least,
    most,
    passed,
)
from services.strategy.divergence import Divergence, measure, usable
from services.strategy.exits import Position
from services.strategy.fills import Signal
from services.strategy.history import History
from services.strategy.machine import Machine
from services.strategy.params import Params
from services.strategy.progress_exit import Giveback, exit_conditions, giveback
from services.strategy.progress_setup import divergence, entry, reset, unopposed
from services.strategy.reset import Setup
from services.strategy.score import Score
from services.strategy.types import State

NEXT = {
    State.WARMUP: State.WATCHING,
    State.WATCHING: State.DIVERGENCE,
    State.DIVERGENCE: State.RESET,
    State.RESET: State.ENTRY_READY,
    State.ENTRY_READY: State.IN_POSITION,
    State.IN_POSITION: State.CLOSING,
    State.CLOSING: State.COOLDOWN,
    State.COOLDOWN: State.WATCHING,
}


class Leg(NamedTuple):
    """A window of the divergence; fields as in `services.core.views.Window`."""

    minutes: int
    found: Divergence | None
    scale_spot: float
    scale_perp: float
    scale_price: float
    scale_gap: float


class Progress(NamedTuple):
    """A symbol after second `t`. `next_state`: where the step leads to.

    `toward`: direction of the divergence that is nearest, in WATCHING. `setup`, `score`, `signal`,
    `position`: the machine's own, to be looked at only; prices in them are spliced.
    """

    t: int | None
    state: State
    direction: int
    since_t: int | None
    next_state: State
    toward: int
    windows: list[Leg]
    setup: Setup | None
    score: Score | None
    signal: Signal | None
    position: Position | None
    giveback: Giveback | None
    environment: str
    k: float
    coverage: float
    degraded: bool
    cooldown_until: int | None
    conditions: list[Condition]


class _Look(NamedTuple):
    """Everything that is looked at."""

    history: History
    machine: Machine
    params: Params
    windows: list[Leg]
    execution: float

    @property
    def t(self) -> int:
        return self.history.t or 0


def look(history: History, machine: Machine, params: Params, execution: float = 1.0) -> Progress:
    """The symbol now. `execution`: price on the execution market over the reference price."""
    state = machine.state
    windows = [_leg(history, w, params) for w in params.div_windows]
    seen = _Look(history, machine, params, windows, execution)
    toward, conditions = _watching(seen) if state is State.WATCHING else (0, _OTHERS[state](seen))
    position = machine.position
    return Progress(
        t=history.t,
        state=state,
        direction=machine.direction,
        since_t=machine.since_t,
        next_state=NEXT[state],
        toward=toward,
        windows=windows,
        setup=machine.setup,
        score=machine.score,
        signal=machine.signal if state is State.ENTRY_READY else None,
        position=position,
        giveback=None if position is None else giveback(position, history, params),
        environment=history.environment.value,
        k=history.k,
        coverage=machine.coverage,
        degraded=machine.degraded,
        cooldown_until=machine.cooldown_until if state is State.COOLDOWN else None,
        conditions=conditions,
    )


def _leg(history: History, w: int, params: Params) -> Leg:
    found = None
    if usable(history, w, params):
        found = measure(history, 1, w, params)
        if found.gap < 0.0:
            found = measure(history, -1, w, params)
    return Leg(
        w,
        found,
        history.spot.scale[w],
        history.perp.scale[w],
        history.price.scale[w],
        history.gap_scale.get(w, 0.0),
    )


def _trusted(seen: _Look) -> list[Condition]:
    """Told only while data are in the way."""
    if not seen.machine.degraded:
        return []
    if seen.history.thin:
        return [flag("data", "spot, perp or price moves in too few minutes to have a scale", False)]
    coverage = seen.machine.coverage
    text = f"data of this second not to be trusted, coverage {coverage:.2f}"
    return [Condition("data", text, False, coverage)]


def _warm_up(seen: _Look) -> list[Condition]:
    history, p = seen.history, seen.params
    minutes, seconds = history.x_closes.length, history.seconds.length
    need_s = 60 * max(p.div_windows) + 1
    found = [
        least("minutes", "history", minutes, p.warm_min, "min"),
        least("window", "history second by second", seconds, need_s, "s"),
    ]
    for name, scale in (("spot", history.spot), ("perp", history.perp), ("price", history.price)):
        moves = scale.sigma[1] > 0.0 and (name != "price" or history.r5 > 0.0)
        text = f"{name} has {'a' if moves else 'no'} scale"
        found.append(flag(f"scale_{name}", text, moves))
    return found if history.thin else found + _trusted(seen)


def _watching(seen: _Look) -> tuple[int, list[Condition]]:
    """Direction and conditions of the divergence that is nearest."""
    detector = seen.machine.detector
    best: tuple[tuple[bool, bool, int, float], int, Leg] | None = None
    for leg in seen.windows:
        if leg.found is None:
            continue
        s = 1 if leg.found.gap >= 0.0 else -1
        counted = leg.found.holds and seen.history.context_sign != -s
        free = s not in detector.blocked_since and detector.held[s] >= seen.params.div_confirm_s
        rank = (counted, free, detector.held[s], _closeness(leg.found, s, seen.params))
        if best is None or rank > best[0]:
            best = rank, s, leg
    if best is None:
        text = "no window has seconds and scales enough"
        return 0, [flag("window", text, False), *_trusted(seen)]
    _, s, leg = best
    return s, _nearest(seen, s, leg)


def _closeness(found: Divergence, s: int, params: Params) -> float:
    return (
        min(1.0, s * found.z_spot / params.div_leg_z)
        + min(1.0, -s * found.z_perp / params.div_leg_z)
        + min(1.0, s * found.gap / params.div_gap_z)
        + found.stable
        + found.sustained
    )


def _nearest(seen: _Look, s: int, leg: Leg) -> list[Condition]:
    found, p, detector, w = leg.found, seen.params, seen.machine.detector, leg.minutes
    assert found is not None
    spot, perp = ("buying", "selling") if s > 0 else ("selling", "buying")
    moved = s * found.z_price
    sustained = f"spot {spot} and perp {perp} in {p.div_parts} of 3 parts of the window"
    conditions = [
        least("spot", f"spot {spot}, {w} min", s * found.z_spot, p.div_leg_z),
        least("perp", f"perp {perp}, {w} min", -s * found.z_perp, p.div_leg_z),
        least("gap", f"gap, {w} min", s * found.gap, p.div_gap_z),
        most("price_against", f"price against it, {w} min", -moved, p.div_adv_z),
        most("price_gone", f"price ahead of it, {w} min", moved, p.div_fav_z),
        flag("sustained", sustained, found.sustained),
        held("held", detector.held[s], p.div_confirm_s),
    ]
    return conditions + _in_the_way(seen, s, leg) + _trusted(seen)


def _in_the_way(seen: _Look, s: int, leg: Leg) -> list[Condition]:
    """Told only while they are."""
    history, detector, p, t = seen.history, seen.machine.detector, seen.params, seen.t
    side, found = "long" if s > 0 else "short", []
    if history.context_sign == -s:
        found.append(flag("context", unopposed(history, side), False))
    if t < seen.machine.frozen_until:
        until = clock(seen.machine.frozen_until)
        found.append(flag("composition", f"the set of markets has changed, until {until}", False))
    since = detector.blocked_since.get(s)
    if since is not None:
        text = (
            f"a {side} set-up has just ended: its gap under {p.rearm_gap:.2f} z first, "
            f"or {t - since} of {p.rearm_s} s"
        )
        found.append(Condition("rearm", text, False, t - since, p.rearm_s, unit="s"))
    return found


def _divergence(seen: _Look) -> list[Condition]:
    return divergence(seen.history, seen.machine, seen.params) + _trusted(seen)


def _reset(seen: _Look) -> list[Condition]:
    return reset(seen.history, seen.machine, seen.params) + _trusted(seen)


def _entry_ready(seen: _Look) -> list[Condition]:
    trusted = [one._replace(kind=GUARD) for one in _trusted(seen)]
    return entry(seen.history, seen.machine, seen.params) + trusted


def _in_position(seen: _Look) -> list[Condition]:
    position = seen.machine.position
    assert position is not None
    return exit_conditions(position, seen.history, seen.params, seen.execution)


def _closing(seen: _Look) -> list[Condition]:
    position = seen.machine.position
    assert position is not None
    return [flag("closed", f"the trade to be closed ({position.exit_reason})", False)]


def _cool_down(seen: _Look) -> list[Condition]:
    until, need_s = seen.machine.cooldown_until, seen.params.cooldown_s
    have_s = need_s - (until - seen.t)
    return [passed("cooldown", f"pause until {clock(until)}", have_s, need_s)]


_OTHERS: dict[State, Callable[[_Look], list[Condition]]] = {
    State.WARMUP: _warm_up,
    State.DIVERGENCE: _divergence,
    State.RESET: _reset,
    State.ENTRY_READY: _entry_ready,
    State.IN_POSITION: _in_position,
    State.CLOSING: _closing,
    State.COOLDOWN: _cool_down,
}
