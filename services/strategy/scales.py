"""What is large for this symbol: robust scales of its own recent changes.

A scale is estimated from absolute changes over a window, so it is the same for a series and its
mirror image. The median gives the typical size, the 90th percentile reacts to fat tails; both are
expressed as standard deviations of a normal distribution.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import pairwise
from math import sqrt

import numpy as np

from services.strategy.params import Params
from services.strategy.series import Closes, Floats

MEDIAN_TO_SIGMA = 0.6745
P90_TO_SIGMA = 1.6449
MIN_SAMPLES = 30
INDEPENDENT_GAP = sqrt(2.0)


def clip(value: float, low: float, high: float) -> float:
    """`value` limited to [low, high]."""
    return min(high, max(low, value))


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, linear between."""
    return clip((value - low) / (high - low), 0.0, 1.0)


class SlidingMagnitudes:
    """Absolute changes in time order, and sorted; None stands for a change that is not known."""

    def __init__(self) -> None:
        self._in_order: deque[float | None] = deque()
        self._sorted: list[float] = []

    def push(self, change: float | None, keep: int) -> None:
        """Add the newest change and drop the oldest ones beyond `keep`."""
        in_order, ordered = self._in_order, self._sorted
        if change is None:
            in_order.append(None)
        else:
            magnitude = abs(change)
            in_order.append(magnitude)
            insort(ordered, magnitude)
        while len(in_order) > keep:
            old = in_order.popleft()
            if old is not None:
                del ordered[bisect_left(ordered, old)]

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def median(self) -> float:
        """Order statistic floor(m/2); there must be at least one sample."""
        return self._sorted[len(self._sorted) // 2]

    @property
    def sigma(self) -> float:
        """Robust standard deviation about zero; there must be at least one sample."""
        values = self._sorted
        m = len(values)
        return max(values[m // 2] / MEDIAN_TO_SIGMA, values[9 * m // 10] / P90_TO_SIGMA)


class ChangeScale:
    """Scales of one series over several windows, from its one-minute closes.

    `lag` closes are held back, so that what happens now does not raise its own yardstick.
    """

    def __init__(self, params: Params, windows: tuple[int, ...]) -> None:
        self._p = params
        self._windows = windows
        self._samples = {w: SlidingMagnitudes() for w in windows}
        # Window, root of its ratio to the one before, samples it needs.
        self._steps = [
            (w, sqrt(w / before), max(params.neff_min * w, MIN_SAMPLES + 1))
            for before, w in pairwise((1, *windows))
        ]
        self._fast = SlidingMagnitudes()
        self._capacity = params.hist_min + max(params.scale_windows) + 1
        self.activity = 1.0
        self.sigma: dict[int, float] = dict.fromkeys(windows, 0.0)
        self.scale: dict[int, float] = dict.fromkeys(windows, 0.0)

    def add(self, closes: Closes) -> None:
        """Take in the samples that the newest of `closes` releases from the lag."""
        at = closes.values.item
        end = closes.length - self._p.scale_lag_min
        if end > 1:
            self._fast.push(at(end - 1) - at(end - 2), self._p.fast_min - 1)
        for w in self._windows:
            if end > w:
                self.add_change(w, at(end - 1) - at(end - 1 - w), end)

    def add_change(self, w: int, change: float | None, end: int) -> None:
        """One sample of window `w`; `end`: number of closes outside the lag."""
        self._samples[w].push(change, end - w - max(0, end - self._p.hist_min - w))

    def refresh(self, closes: int, *, adaptive: bool = True) -> None:
        """Recompute `sigma` and `scale`; `closes`: number of closes in the history."""
        previous, sigmas, p = 0.0, self.sigma, self._p
        for w, root, least in self._steps:
            inherited = previous * root
            samples = self._samples[w]
            if len(samples) >= least:
                previous = max(samples.sigma, p.scale_floor * inherited)
                if w == 1 and samples.median == 0.0:
                    previous = 0.0
            else:
                previous = inherited
            sigmas[w] = previous
        end = closes - p.scale_lag_min
        activity = self.activity = self._activity(end) if adaptive else 1.0
        for w in self._windows:
            self.scale[w] = activity * sigmas[w]

    def _activity(self, end: int) -> float:
        base = self.sigma[1]
        if base == 0.0 or end <= self._p.fast_min:
            return 1.0
        return clip(self._fast.sigma / base, self._p.act_lo, self._p.act_hi)


def scale_of(scale: dict[int, float], seconds: int) -> float:
    """Scale of a change over any number of seconds: the largest window not longer, times root."""
    fitting = 0
    for w in scale:
        if fitting < w and 60 * w <= seconds:
            fitting = w
    fitting = fitting or min(scale)
    return scale[fitting] * sqrt(seconds / (60 * fitting))


def gap_scale(
    spot: Floats, perp: Floats, sigma_spot: float, sigma_perp: float, w: int, params: Params
) -> float | None:
    """How far the standardised legs normally drift apart over `w` minutes; None if too few samples.

    `spot`, `perp`: one-minute closes of the accumulators. Legs that never move give None.
    """
    end = len(spot) - params.scale_lag_min
    low = max(0, end - params.hist_min - w)
    m = end - w - low
    if m < params.gap_neff * w or m <= MIN_SAMPLES or sigma_spot == 0.0 or sigma_perp == 0.0:
        return None
    u = (spot[low + w : end] - spot[low : end - w]) / sigma_spot
    u -= (perp[low + w : end] - perp[low : end - w]) / sigma_perp
    np.abs(u, out=u)
    q50, q90 = m // 2, 9 * m // 10
    u.partition((q50, q90))
    sigma = max(float(u[q50]) / MEDIAN_TO_SIGMA, float(u[q90]) / P90_TO_SIGMA)
    return clip(sigma, params.gap_lo, params.gap_hi)


def gap_scales(
    spot: Floats,
    perp: Floats,
    sigma_spot: dict[int, float],
    sigma_perp: dict[int, float],
    needed: tuple[int, ...],
    params: Params,
) -> dict[int, float]:
    """Gap scale of each window in `needed`; one with too few samples takes the next shorter one."""
    computed: dict[int, float | None] = {}

    def own(w: int) -> float | None:
        if w not in computed:
            computed[w] = gap_scale(spot, perp, sigma_spot[w], sigma_perp[w], w, params)
        return computed[w]

    result = {}
    for w in needed:
        shorter = [v for v in params.scale_windows if v <= w]
        found = next((d for v in reversed(shorter) if (d := own(v)) is not None), None)
        result[w] = INDEPENDENT_GAP if found is None else found
    return result
