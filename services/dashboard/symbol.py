"""A symbol's seconds as they become known: live, amended, or read back. No input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aggr_server.wire import Bar, Market
from services.dashboard.ring import Floats, Ring, empty
from services.dashboard.venues import Venue, VenueSums, Volumes

AMENDABLE_S = 300
"""Seconds whose bars are kept, so that one of them can be replaced."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What InfluxDB has of [from_s, to_s). `columns`: shape (10, to_s - from_s), see `ring.ROWS`.

    `minutes`: volumes of whole minutes by their first second; `seconds`: of single seconds, of the
    newest part of the span from `seconds_from` on.
    """

    from_s: int
    to_s: int
    columns: Floats
    minutes: Mapping[int, Volumes] = field(default_factory=dict)
    seconds: Mapping[int, Volumes] = field(default_factory=dict)
    seconds_from: int = 0


class SymbolBars:
    """Sums over the markets of a base symbol. `reference`: the market whose prices are shown.

    `complete_from`: from this second on everything is there that was recorded; None before the
    first history was read or the first second came.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.reference = ""
        self.ring = Ring()
        self.venues = VenueSums()
        self.complete_from: int | None = None
        self.changed: set[int] = set()
        """Seconds whose columns have changed since somebody last emptied this."""
        self._live: dict[int, dict[str, tuple[Bar, Market]]] = {}

    def reach(self, t: int) -> None:
        """Second `t` has been closed by a collector, whatever was traded in it."""
        if t < self.ring.end:
            return
        self.ring.reach(t)
        self.venues.reach(t)
        self._live[t] = {}
        self.changed.add(t)
        for old in [s for s in self._live if s <= t - AMENDABLE_S]:
            del self._live[old]
        if self.complete_from is None:
            self.complete_from = t

    def take(self, bars: Sequence[tuple[Bar, Market]]) -> list[int]:
        """Whole bars of any second, each in place of what was known of its market then.

        Returns the seconds that cannot be brought up to date so, because not all of their bars are
        at hand: they have to be read back.
        """
        touched: set[int] = set()
        unknown: list[int] = []
        for bar, market in bars:
            self.reach(bar.time)
            known = self._live.get(bar.time)
            if known is not None:
                known[market.market] = bar, market
                touched.add(bar.time)
            elif bar.time >= self.ring.start:
                unknown.append(bar.time)
        for t in touched:
            self._sum(t)
        return unknown

    def forget(self, from_s: int, to_s: int) -> None:
        """Not all bars of [from_s, to_s) have come; what is stored of them will replace them."""
        for t in [t for t in self._live if from_s <= t < to_s]:
            del self._live[t]

    def replace(self, stored: Stored) -> list[tuple[int, int]]:
        """Take over what is stored, but for seconds that are known better from the collectors.

        Returns the spans that have changed, none empty, ascending.
        """
        first = max(stored.from_s, self.ring.start)
        last = min(stored.to_s, self.ring.end)
        changed: list[tuple[int, int]] = []
        for from_s, to_s in self._spans(first, last):
            columns = stored.columns[:, from_s - stored.from_s : to_s - stored.from_s]
            before = self.ring.between(from_s, to_s)
            differs = np.flatnonzero(~_same(before, columns).all(axis=0))
            if differs.size:
                changed.append((from_s + int(differs[0]), from_s + int(differs[-1]) + 1))
                self.ring.put_all(from_s, columns)
            for t in range(max(from_s, stored.seconds_from), to_s):
                self.venues.put(t, stored.seconds.get(t, {}))
        self.venues.put_minutes(stored.from_s, stored.to_s, stored.minutes)
        return changed

    def _spans(self, from_s: int, to_s: int) -> list[tuple[int, int]]:
        """The parts of [from_s, to_s) whose bars are not at hand."""
        spans: list[tuple[int, int]] = []
        start = from_s
        for t in sorted(t for t in self._live if from_s <= t < to_s):
            if start < t:
                spans.append((start, t))
            start = t + 1
        if start < to_s:
            spans.append((start, to_s))
        return spans

    def _sum(self, t: int) -> None:
        """The sums of second `t` anew, its markets in the order of their names."""
        column = empty(1)[:, 0]
        volumes: dict[Venue, tuple[float, float]] = {}
        known = self._live[t]
        for name in sorted(known):
            bar, market = known[name]
            row = 4 if market.kind == "spot" else 5
            column[row] += bar.vbuy - bar.vsell
            column[row + 2] += bar.vbuy + bar.vsell
            column[8] += bar.lbuy
            column[9] += bar.lsell
            if name == self.reference and bar.close > 0.0:
                column[:4] = bar.open, bar.high, bar.low, bar.close
            venue = market.exchange, market.kind
            buy, sell = volumes.get(venue, (0.0, 0.0))
            volumes[venue] = buy + bar.vbuy, sell + bar.vsell
        self.ring.put(t, column)
        self.venues.put(t, volumes)
        self.changed.add(t)


def _same(one: Floats, other: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.isclose(one, other, rtol=1e-9, atol=1e-6, equal_nan=True)
