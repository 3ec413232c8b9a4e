"""The conditions of a divergence over many seconds in a row, equal to those of each.

All arrays have one element a second. Arithmetic on them rounds like that on single numbers, and
rounding keeps the order of values, so the largest gap follows from the largest and smallest change.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from services.strategy.block import Flags
from services.strategy.divergence import PARTS, scaled
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.series import Floats

Span = tuple[int, int]


class _Extremes(NamedTuple):
    """Per span of seconds: smallest and largest change of each leg over the window."""

    spot_min: list[float]
    spot_max: list[float]
    perp_min: list[float]
    perp_max: list[float]


class Path:
    """The flows of the seconds at index `first` of the window and after it, staged ones included.

    `spans`: consecutive ranges of them, between which the scales change. The window must hold at
    least the longest divergence window before `first`.
    """

    def __init__(self, history: History, params: Params, first: int, spans: Sequence[Span]) -> None:
        self._history, self._p, self._first = history, params, first
        window = history.seconds
        self._spot, self._perp = np.frombuffer(window.c_spot), np.frombuffer(window.c_perp)
        self._x, self._holes = np.frombuffer(window.x), np.frombuffer(window.holes)
        starts = [start for start, _ in spans]
        stop = spans[-1][1]
        self._extremes: dict[int, _Extremes] = {}
        for w in params.div_windows:
            spot = self._change(self._spot, w, (0, stop))
            perp = self._change(self._perp, w, (0, stop))
            self._extremes[w] = _Extremes(
                np.minimum.reduceat(spot, starts).tolist(),
                np.maximum.reduceat(spot, starts).tolist(),
                np.minimum.reduceat(perp, starts).tolist(),
                np.maximum.reduceat(perp, starts).tolist(),
            )

    def possible(self, k: int) -> bool:
        """Whether the gap is wide enough in any second of span `k`, with the current scales."""
        history, least = self._history, self._p.div_gap_z
        for w, found in self._extremes.items():
            if not scaled(history, w):
                continue
            spot, perp, gap = history.spot.scale[w], history.perp.scale[w], history.gap_scale[w]
            widest = (found.spot_max[k] / spot - found.perp_min[k] / perp) / gap
            narrowest = (found.spot_min[k] / spot - found.perp_max[k] / perp) / gap
            if widest >= least or narrowest <= -least:
                return True
        return False

    def holds(self, direction: int, span: Span) -> Flags:
        """Seconds of `span` in which a divergence of that direction holds in any window."""
        found = np.zeros(span[1] - span[0], np.bool_)
        if self._history.context_sign != -direction:
            for w in self._p.div_windows:
                if scaled(self._history, w):
                    found |= self._holds(direction, w, span)
        return found

    def gaps(self, span: Span) -> list[float | None]:
        """Gap over the shortest window, by which a blocked direction is freed; None: not usable."""
        history, w = self._history, min(self._p.div_windows)
        if not scaled(history, w):
            return [None] * (span[1] - span[0])
        spot = self._change(self._spot, w, span) / history.spot.scale[w]
        perp = self._change(self._perp, w, span) / history.perp.scale[w]
        gaps = ((spot - perp) / history.gap_scale[w]).tolist()
        whole = self._whole(w, span).tolist()
        return [gap if known else None for gap, known in zip(gaps, whole, strict=True)]

    def _holds(self, s: int, w: int, span: Span) -> Flags:
        history, p = self._history, self._p
        spot, perp = self._change(self._spot, w, span), self._change(self._perp, w, span)
        spot_scale, perp_scale = history.spot.scale[w], history.perp.scale[w]
        least_spot, least_perp = p.div_leg_z * spot_scale, p.div_leg_z * perp_scale
        opposed = ~((-least_spot < spot) & (spot < least_spot))
        if s > 0:
            opposed &= (spot > 0.0) & (perp <= -least_perp)
        else:
            opposed &= ~(spot > 0.0) & (perp >= least_perp)
        z_spot, z_perp = spot / spot_scale, perp / perp_scale
        z_price = self._change(self._x, w, span) / history.price.scale[w]
        gap = (z_spot - z_perp) / history.gap_scale[w]
        return (
            opposed
            & (s * z_spot >= p.div_leg_z)
            & (s * z_perp <= -p.div_leg_z)
            & (s * gap >= p.div_gap_z)
            & (-p.div_adv_z <= s * z_price)
            & (s * z_price <= p.div_fav_z)
            & self._sustained(s, w, span)
            & self._whole(w, span)
        )

    def _sustained(self, s: int, w: int, span: Span) -> Flags:
        step = 60 * w // PARTS
        ages = [60 * w - i * step for i in range(PARTS)] + [0]
        buying = np.zeros(span[1] - span[0], np.int64)
        selling = np.zeros_like(buying)
        for begin, end in pairwise(ages):
            spot = self._at(self._spot, end, span) - self._at(self._spot, begin, span)
            perp = self._at(self._perp, end, span) - self._at(self._perp, begin, span)
            buying += s * spot > 0.0
            selling += s * perp < 0.0
        return (buying >= self._p.div_parts) & (selling >= self._p.div_parts)

    def _whole(self, w: int, span: Span) -> Flags:
        return self._change(self._holes, w, span) <= self._p.hole_max * (60 * w)

    def _change(self, series: Floats, w: int, span: Span) -> Floats:
        return self._at(series, 0, span) - self._at(series, 60 * w, span)

    def _at(self, series: Floats, age: int, span: Span) -> Floats:
        return series[self._first + span[0] - age : self._first + span[1] - age]
