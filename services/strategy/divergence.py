"""Phase 2: spot and perpetual traders pull in opposite directions while price stands still."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import NamedTuple

from services.strategy.history import History
from services.strategy.params import Params

PARTS = 3


class Divergence(NamedTuple):
    """One window seen from one direction: z-scores (unsigned by direction) and the conditions."""

    z_spot: float
    z_perp: float
    z_price: float
    gap: float
    legs: bool
    wide: bool
    stable: bool
    sustained: bool

    @property
    def holds(self) -> bool:
        return self.legs and self.wide and self.stable and self.sustained


def opposed(history: History, minutes: int, z: float) -> int:
    """+1 if spot rose and perp fell by at least `z` scales each, -1 the other way round, else 0.

    The window must be loaded.
    """
    window = history.seconds
    last = window.last
    first = last - 60 * minutes
    spot = window.c_spot[last] - window.c_spot[first]
    least = z * history.spot.scale[minutes]
    if -least < spot < least:
        return 0
    perp = window.c_perp[last] - window.c_perp[first]
    least = z * history.perp.scale[minutes]
    if spot > 0.0:
        return 1 if perp <= -least else 0
    return -1 if perp >= least else 0


def measure(history: History, direction: int, minutes: int, params: Params) -> Divergence:
    """All conditions over the last `minutes` minutes; the window and its scales must be usable."""
    window = history.seconds
    last = window.last
    step = 60 * minutes // PARTS
    first = last - 60 * minutes
    s = direction
    spot, perp = window.c_spot, window.c_perp
    z_spot = (spot[last] - spot[first]) / history.spot.scale[minutes]
    z_perp = (perp[last] - perp[first]) / history.perp.scale[minutes]
    z_price = (window.x[last] - window.x[first]) / history.price.scale[minutes]
    gap = (z_spot - z_perp) / history.gap_scale[minutes]
    edges = [first + i * step for i in range(PARTS)] + [last]
    pairs = list(pairwise(edges))
    buying = sum(s * (spot[b] - spot[a]) > 0.0 for a, b in pairs)
    selling = sum(s * (perp[b] - perp[a]) < 0.0 for a, b in pairs)
    return Divergence(
        z_spot,
        z_perp,
        z_price,
        gap,
        legs=s * z_spot >= params.div_leg_z and s * z_perp <= -params.div_leg_z,
        wide=s * gap >= params.div_gap_z,
        stable=-params.div_adv_z <= s * z_price <= params.div_fav_z,
        sustained=buying >= params.div_parts and selling >= params.div_parts,
    )


def usable(history: History, minutes: int, params: Params) -> bool:
    """Whether the window is loaded, has few holes, and its scales are positive."""
    return history.seconds.whole(60 * minutes, params.hole_max) and scaled(history, minutes)


def scaled(history: History, minutes: int) -> bool:
    """Whether the scales of the window are positive."""
    return all(
        isfinite(scale.scale[minutes]) and scale.scale[minutes] > 0.0
        for scale in (history.spot, history.perp, history.price)
    )


class Detector:
    """Counts for how long a divergence has held, per direction, and remembers what blocks it."""

    def __init__(self, params: Params) -> None:
        self._p = params
        self.held = {1: 0, -1: 0}
        self.blocked_since: dict[int, int] = {}

    def clear(self) -> None:
        """Forget the seconds counted so far."""
        self.held[1] = self.held[-1] = 0

    def rest(self, history: History, t: int) -> None:
        """Detect nothing in second `t`; a gap that closes meanwhile ends a block all the same."""
        self.clear()
        if self.blocked_since:
            self._unblock(history, t)

    def block(self, direction: int, t: int) -> None:
        """A setup in this direction has ended: the gap must close, or time pass, before another."""
        self.blocked_since[direction] = t

    def update(self, history: History, t: int) -> dict[int, int]:
        """Count second `t`; direction -> window (minutes) that holds and has held long enough.

        Directions against the context do not count; a blocked one is left out of the result.
        """
        if self.blocked_since:
            self._unblock(history, t)
        held = self.held
        now: dict[int, int] = {}
        for w in self._p.div_windows:
            direction = opposed(history, w, self._p.div_leg_z)
            if (
                direction
                and direction not in now
                and history.context_sign != -direction
                and usable(history, w, self._p)
                and measure(history, direction, w, self._p).holds
            ):
                now[direction] = w
        held[1] = held[1] + 1 if 1 in now else 0
        held[-1] = held[-1] + 1 if -1 in now else 0
        return {
            direction: w
            for direction, w in now.items()
            if held[direction] >= self._p.div_confirm_s and direction not in self.blocked_since
        }

    def _unblock(self, history: History, t: int) -> None:
        w = min(self._p.div_windows)
        for direction in self.freed(self._gap(history, w), t):
            del self.blocked_since[direction]

    def freed(self, gap: float | None, t: int) -> list[int]:
        """Directions blocked no longer in second `t`; `gap` over the shortest window, if usable."""
        p = self._p
        return [
            direction
            for direction, since in self.blocked_since.items()
            if (gap is not None and direction * gap < p.rearm_gap and t > since)
            or t - since > p.rearm_s
        ]

    def _gap(self, history: History, w: int) -> float | None:
        if not usable(history, w, self._p):
            return None
        window = history.seconds
        last = window.last
        first = last - 60 * w
        spot = (window.c_spot[last] - window.c_spot[first]) / history.spot.scale[w]
        perp = (window.c_perp[last] - window.c_perp[first]) / history.perp.scale[w]
        return (spot - perp) / history.gap_scale[w]
