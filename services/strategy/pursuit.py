"""Follows a divergence through many seconds at once, equal to following it through each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from services.strategy.block import Flags
from services.strategy.history import History
from services.strategy.machine import RESET_WINDOW_S
from services.strategy.params import Params
from services.strategy.reset import (
    EXPLOSION_FROM_S,
    RANGE_FROM_S,
    RANGE_S,
    SPEED_FROM_S,
    STAGNATION_S,
    Setup,
)
from services.strategy.scales import scale_of
from services.strategy.series import Floats

Ints = NDArray[np.int64]

MOST_S = SPEED_FROM_S
"""Seconds at once: what is measured from some time after a peak on does not begin within them."""


def pursuable(setup: Setup, history: History, params: Params, to_t: int) -> bool:
    """Whether all that is looked at from the next second to before `to_t` is in the window."""
    reach = max(RANGE_S, RESET_WINDOW_S, STAGNATION_S, params.v_w, params.expl_w)
    return history.seconds.length > max(reach, to_t - setup.peak_t)


def surely_goes_on(setup: Setup, history: History, params: Params, t: int, at: int) -> bool:
    """Whether trusted second `t`, the next one, does not end the divergence, whatever scales the
    close of its minute brings. `at`: its index in the window.
    """
    window, p, s = history.seconds, params, setup.direction
    spot = (window.c_spot[at] - setup.c_spot) / setup.f_spot
    perp = (window.c_perp[at] - setup.c_perp) / setup.f_perp
    gap = s * (spot - perp) / setup.f_gap
    closed = 1.0 - gap / max(setup.peak, gap)
    moved = s * (window.x[at] - setup.x) / setup.f_x30
    return (
        (closed < p.conv_b or t - setup.peak_t < EXPLOSION_FROM_S)
        and closed <= p.conv_max
        and -p.div_break_z <= moved <= p.div_run_z
        and t - setup.detected_t <= p.div_timeout_s
        and setup.stagnant_s + 1 < p.reset_confirm_s
        and setup.gap_s + 1 < p.gap_abort_s
        and not _may_turn(setup, history, params, at)
    )


def _may_turn(setup: Setup, history: History, params: Params, at: int) -> bool:
    """Whether the context may be against the setup once the minute closes at index `at`.

    A window in which the legs have not moved against the setup speaks against it with no scales.
    """
    window, s = history.seconds, setup.direction
    least = 0.0
    for w, weight in zip(params.ctx_windows, params.ctx_weights, strict=True):
        spot, perp = history.spot_closes, history.perp_closes
        if spot.length < w:
            continue
        for_it = s * (window.c_spot[at] - spot.values[-w]) >= 0.0
        if not for_it or s * (window.c_perp[at] - perp.values[-w]) > 0.0:
            least -= weight
    return history.context_sign == -s or least <= -params.ctx_on


def pursue(setup: Setup, history: History, params: Params, t: int, first: int, count: int) -> int:
    """Follow the setup, in DIVERGENCE, through the leading seconds that lead to no event.

    `first`: index in the window of second `t`, the first of `count` staged ones, at most `MOST_S`,
    of which none is degraded. The scales and the context must be theirs. Returns the number of
    seconds followed.
    """
    if history.context_sign == -setup.direction or not count:
        return 0
    path = _Pursuit(setup, history, params, t, first, count)
    stagnant = path.stagnant()
    quiet = ~path.ends() & (stagnant < params.reset_confirm_s)
    followed = count if quiet.all() else int(quiet.argmin())
    if followed:
        path.leave(followed - 1)
        setup.stagnant_s, setup.gap_s = int(stagnant[followed - 1]), 0
    return followed


@dataclass(frozen=True, slots=True)
class _SincePeak:
    """What is measured since the peak that stood before, up to the first new one."""

    speed_max: Floats
    adverse_max: Floats
    span: Floats
    span_max: Floats


class _Pursuit:
    def __init__(
        self, setup: Setup, history: History, params: Params, t: int, first: int, count: int
    ) -> None:
        self._setup, self._history, self._p = setup, history, params
        self._first, self._count = first, count
        window = history.seconds
        self._spot, self._perp = np.frombuffer(window.c_spot), np.frombuffer(window.c_perp)
        self._x, self._holes = np.frombuffer(window.x), np.frombuffer(window.holes)
        self._high, self._low = np.frombuffer(window.high), np.frombuffer(window.low)
        lead = slice(first - params.v_w, first + count)
        spot = (self._spot[lead] - setup.c_spot) / setup.f_spot
        perp = (self._perp[lead] - setup.c_perp) / setup.f_perp
        path = setup.direction * (spot - perp) / setup.f_gap
        self._gap = path[params.v_w :]
        highest = np.maximum.accumulate(np.concatenate(([setup.peak], self._gap)))
        new = self._gap > highest[:-1]
        self._peak = highest[1:]
        at = np.arange(count)
        self._peak_at: Ints = np.maximum.accumulate(np.where(new, at, -1))
        self._peak_t = np.where(self._peak_at >= 0, t + self._peak_at, setup.peak_t)
        self._t: Ints = t + at
        self._age = self._t - self._peak_t
        self._closed = 1.0 - self._gap / self._peak
        self._back: Ints = np.minimum(params.v_w, self._age)
        self._speed = path[params.v_w + at - self._back] - self._gap
        self._until_peak = int(new.argmax()) if new.any() else count
        self._since = self._measure()

    def ends(self) -> Flags:
        """Seconds that end the divergence otherwise than by stagnation."""
        setup, p, s = self._setup, self._p, self._setup.direction
        moved = s * (self._now(self._x) - setup.x) / setup.f_x30
        ends: Flags = (
            (self._closed > p.conv_max)
            | (moved < -p.div_break_z)
            | (moved > p.div_run_z)
            | (self._t - setup.detected_t > p.div_timeout_s)
        )
        late = (self._age >= EXPLOSION_FROM_S) & (self._closed >= p.conv_b)
        if late.any():
            ends |= late & self._whole() & self._burst()
        return ends

    def stagnant(self) -> Ints:
        """For how many seconds the setup has been exhausted, at each second."""
        setup, p, n = self._setup, self._p, self._until_peak
        found: Ints = np.zeros(self._count, np.int64)
        since = self._since
        drift = np.abs(self._now(self._x) - self._now(self._x, STAGNATION_S))
        exhausted = (
            (self._age[:n] >= p.reset_min_s)
            & (self._closed[:n] >= p.conv_a)
            & (since.speed_max > 0.0)
            & (self._speed[:n] <= p.exh_frac * since.speed_max)
            & (drift[:n] <= p.stag_z * setup.f_x5)
            & (since.span <= p.stag_rng * setup.r5)
            & self._whole()[:n]
        )
        if exhausted.any():
            held = setup.stagnant_s
            for i, holds in enumerate(exhausted.tolist()):
                held = held + 1 if holds else 0
                found[i] = held
        return found

    def leave(self, i: int) -> None:
        """Leave the setup as it is after second `i`."""
        setup, s = self._setup, self._setup.direction
        setup.gap, setup.peak = float(self._gap[i]), float(self._peak[i])
        setup.peak_t, setup.speed = int(self._peak_t[i]), float(self._speed[i])
        lows = self._now(self._low) if s > 0 else -self._now(self._high)
        p = int(self._peak_at[i])
        if p < 0:
            since = self._since
            setup.extreme = min(setup.extreme, float(lows[: i + 1].min()))
            setup.speed_max = float(since.speed_max[i])
            setup.adverse_max = float(since.adverse_max[i])
            setup.span, setup.span_max = float(since.span[i]), float(since.span_max[i])
            return
        setup.extreme = s * float(self._now(self._x)[p])
        if p < i:
            setup.extreme = min(setup.extreme, float(lows[p + 1 : i + 1].min()))
        high, low = self._now(self._high)[p : i + 1], self._now(self._low)[p : i + 1]
        setup.span = float(high.max() - low.min())
        setup.speed_max = setup.adverse_max = setup.span_max = 0.0
        setup.tests, setup.last_test_flow, setup.absorption = 0, 0.0, 0.0

    def _measure(self) -> _SincePeak:
        setup, n, first = self._setup, self._until_peak, self._first
        age, speed = self._age[:n], self._speed[:n]
        now = np.arange(first, first + n)
        change = self._spot[now] - self._spot[now - self._back[:n]]
        adverse = -setup.direction * change / setup.f_spot + 0.0
        span = self._spans(n)
        return _SincePeak(
            _highest(setup.speed_max, speed, age >= SPEED_FROM_S),
            _highest(setup.adverse_max, adverse, age >= SPEED_FROM_S),
            span,
            _highest(setup.span_max, span, age >= RANGE_FROM_S),
        )

    def _spans(self, n: int) -> Floats:
        """Log range since the peak, but of the last `RANGE_S` seconds at most."""
        if not n:
            return np.empty(0)
        first, age = self._first, int(self._age[0])
        # The window grows with the age until it is full, then it slides.
        growing = min(n, max(0, RANGE_S - 1 - age))
        parts = []
        if growing:
            since = slice(first - age, first + growing)
            high = np.maximum.accumulate(self._high[since])[age:]
            parts.append(high - np.minimum.accumulate(self._low[since])[age:])
        if growing < n:
            since = slice(first + growing - RANGE_S + 1, first + n)
            high = sliding_window_view(self._high[since], RANGE_S).max(axis=1)
            parts.append(high - sliding_window_view(self._low[since], RANGE_S).min(axis=1))
        return np.concatenate(parts)

    def _burst(self) -> Flags:
        """A large move in the direction of the trade, carried by both legs."""
        history, p, s = self._history, self._p, self._setup.direction
        spot, perp, price = (
            s * ((self._now(series) - self._now(series, p.expl_w)) / scale_of(scale, p.expl_w))
            for series, scale in (
                (self._spot, history.spot.scale),
                (self._perp, history.perp.scale),
                (self._x, history.price.scale),
            )
        )
        return (price >= p.expl_z) & (spot >= p.expl_flow_z) & (perp >= 0.0)

    def _whole(self) -> Flags:
        holes = self._now(self._holes) - self._now(self._holes, RESET_WINDOW_S)
        return holes <= self._p.hole_max * RESET_WINDOW_S

    def _now(self, series: Floats, age: int = 0) -> Floats:
        return series[self._first - age : self._first - age + self._count]


def _highest(before: float, values: Floats, counted: Flags) -> Floats:
    """Running maximum of the values that count, from `before` on."""
    counting = np.where(counted, values, -np.inf)
    return np.maximum.accumulate(np.concatenate(([before], counting)))[1:]
