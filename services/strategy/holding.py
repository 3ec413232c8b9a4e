"""Follows an open position through many seconds at once, equal to following it through each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.strategy import exits
from services.strategy.block import Flags
from services.strategy.exits import (
    ELAPSED_MIN,
    FAST_S,
    MAX_ELAPSED_S,
    MIN_ELAPSED_S,
    SLOW_S,
    Position,
)
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.scales import scale_of
from services.strategy.series import Floats

Ints = NDArray[np.int64]


def surely_held(position: Position, params: Params, t: int) -> bool:
    """Whether trusted second `t`, the next one, leads to no exit, whatever it brings."""
    if params.max_hold_s and t - position.entry_t >= params.max_hold_s:
        return False
    # The close of its minute may leave a leg without a scale, so that it is not trusted after all.
    if params.gap_exit_enabled and position.gap_s + 1 >= params.gap_exit_s:
        return False
    needed = exits.needed(params)
    return all(position.held[reason] + 1 < least for reason, least in needed.items())


class Holding:
    """An open position in the seconds at index `first` of the window and after it, staged ones
    included; the first of them is second `t`.

    The window must hold more than the longest window of the exits.
    """

    def __init__(
        self, position: Position, history: History, params: Params, t: int, first: int
    ) -> None:
        self._position, self._history, self._p = position, history, params
        self._t, self._first = t, first
        window = history.seconds
        self._length = window.length + 1
        self._spot, self._perp = np.frombuffer(window.c_spot), np.frombuffer(window.c_perp)
        self._x, self._holes = np.frombuffer(window.x), np.frombuffer(window.holes)
        self._at: Ints = np.empty(0, np.int64)

    def count(self, start: int, stop: int) -> int:
        """Count leading seconds of [start, stop) that lead to no exit; their number.

        None of them may be degraded, and the scales must be theirs.
        """
        p, position, s = self._p, self._position, self._position.direction
        if p.max_hold_s:
            stop = min(stop, position.entry_t + p.max_hold_s - self._t)
        if stop <= start:
            return 0
        self._at = np.arange(self._first + start, self._first + stop)
        change = s * (self._spot[self._at] - position.c_spot)
        best = np.maximum.accumulate(np.concatenate(([position.best_spot], change)))[1:]
        conditions = {
            exits.RANGE_BREAK: s * self._x[self._at] < position.level,
            exits.LTF_INVALIDATION: np.full(stop - start, self._history.context_sign == -s),
            **self._flow_conditions(change, best),
        }
        quiet, needed = stop - start, exits.needed(p)
        held = {r: _runs(position.held[r], holds) for r, holds in conditions.items()}
        for reason, counts in held.items():
            if (fires := counts >= needed[reason]).any():
                quiet = min(quiet, int(fires.argmax()))
        if quiet:
            position.gap_s, position.best_spot = 0, float(best[quiet - 1])
            position.held.update(
                (reason, int(counts[quiet - 1])) for reason, counts in held.items()
            )
        return quiet

    def _flow_conditions(self, change: Floats, best: Floats) -> dict[str, Flags]:
        """`exits.conditions` of each second; `change`: of spot CVD since the entry."""
        p, s, at = self._p, self._position.direction, self._at
        fast = self._whole(FAST_S)
        leaving = fast & (s * (self._spot[at] - self._spot[at - FAST_S]) < 0.0)
        looked_at = leaving if p.cti_fast_z > 0.0 else np.ones(len(at), np.bool_)
        if not looked_at.any():
            return dict.fromkeys(exits.FLOW_CONDITIONS, looked_at)
        spot, perp, best = self._since_entry(change, best)
        slow = self._whole(SLOW_S)
        spot_5, perp_5 = self._over(FAST_S, fast)
        spot_15, perp_15 = self._over(SLOW_S, slow)
        return {
            exits.FLOW_REVERSAL: looked_at
            & (spot <= -p.exit_flow_z)
            & (perp >= p.exit_perp_z)
            & (spot_5 < 0.0),
            exits.FLOW_REVERSAL_GIVEBACK: looked_at
            & (best >= p.giveback_min_z)
            & (spot <= p.giveback * best)
            & (spot_5 <= -p.cti_fast_z)
            & (spot_15 <= -p.giveback_perp_z)
            & (perp > 0.0)
            & (perp_15 >= p.giveback_perp_z),
            exits.CVD_TREND: looked_at
            & (spot_15 <= -p.cti_z)
            & (perp_15 <= -p.cti_z)
            & (spot_5 <= -p.cti_fast_z)
            & (perp_5 <= -p.cti_fast_z),
        }

    def _since_entry(self, change: Floats, best: Floats) -> tuple[Floats, Floats, Floats]:
        """Spot, perp and best spot change since the entry, in scales."""
        history, position, at = self._history, self._position, self._at
        held_s = at - self._first + self._t - position.entry_t
        elapsed = np.clip(held_s, MIN_ELAPSED_S, MAX_ELAPSED_S)
        minutes = np.array(ELAPSED_MIN)
        which = np.searchsorted(60 * minutes, elapsed, "right") - 1
        root = np.sqrt(elapsed / (60 * minutes[which]))
        spot_scale, perp_scale = (
            np.array([scale[w] for w in ELAPSED_MIN])[which] * root
            for scale in (history.spot.scale, history.perp.scale)
        )
        lengths = np.minimum(history.seconds.capacity, self._length + at - self._first)
        known_s = np.minimum(held_s, lengths - 1)
        holes = self._holes[at] - self._holes[at - np.maximum(known_s, 0)]
        known = (known_s < 1) | (holes <= self._p.hole_max * known_s)
        perp = position.direction * (self._perp[at] - position.c_perp)
        return (
            np.where(known, change / spot_scale, 0.0),
            np.where(known, perp / perp_scale, 0.0),
            np.where(known, best / spot_scale, 0.0),
        )

    def _over(self, seconds: int, whole: Flags) -> tuple[Floats, Floats]:
        """Spot and perp change over a window that counts where it is `whole`, in scales."""
        history, s, at = self._history, self._position.direction, self._at
        spot, perp = (
            s * ((series[at] - series[at - seconds]) / scale_of(scale, seconds))
            for series, scale in (
                (self._spot, history.spot.scale),
                (self._perp, history.perp.scale),
            )
        )
        return np.where(whole, spot, 0.0), np.where(whole, perp, 0.0)

    def _whole(self, seconds: int) -> Flags:
        holes = self._holes[self._at] - self._holes[self._at - seconds]
        return holes <= self._p.hole_max * seconds


def _runs(before: int, holds: Flags) -> Ints:
    """For how many seconds in a row it has held, at each second; `before`: as of the one before."""
    at = np.arange(len(holds))
    broken = np.maximum.accumulate(np.where(holds, -1, at))
    return at - broken + np.where(broken < 0, before, 0)
