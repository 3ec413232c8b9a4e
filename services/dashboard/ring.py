"""The last four hours of a symbol, one column a second. No input or output, no clock."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHOWN_S = 4 * 3600
KEPT_S = SHOWN_S + 600
"""A little more than is shown, so that the price four hours ago is known too."""

PRICES = 4
ROWS = (
    *("open", "high", "low", "close"),
    *("spot", "perp", "spot_volume", "perp_volume"),
    *("lbuy", "lsell"),
)
"""Rows of every array of columns: prices of the reference market (NaN where it did not trade);
taker buy minus taker sell, and volume, of all markets of the kind; forced buys and sells. USD."""


class Ring:
    """Seconds [start, end); what is older falls out. Seconds never told are zero, prices NaN."""

    def __init__(self, length_s: int = KEPT_S) -> None:
        self._length = length_s
        self._values = empty(length_s)
        self.end = 0

    @property
    def start(self) -> int:
        """The oldest second that can be in it; 0 before the first."""
        return max(0, self.end - self._length)

    def reach(self, t: int) -> None:
        """Make second `t` the newest, unless a newer one is there already."""
        if t < self.end:
            return
        first = max(self.end, t + 1 - self._length)
        self._write(first, empty(t + 1 - first))
        self.end = t + 1

    def put(self, t: int, column: Floats) -> None:
        """Replace second `t`; one that is too old is left out."""
        if self.start <= t < self.end:
            self._values[:, t % self._length] = column

    def put_all(self, from_s: int, columns: Floats) -> None:
        """Replace the seconds from `from_s` on; those before the start or after the end are not."""
        first = max(from_s, self.start)
        last = min(from_s + columns.shape[1], self.end)
        if first < last:
            self._write(first, columns[:, first - from_s : last - from_s])

    def at(self, t: int) -> Floats:
        """Second `t`, which must be in it; shape (10,)."""
        return self._values[:, t % self._length].copy()

    def between(self, from_s: int, to_s: int) -> Floats:
        """Seconds [from_s, to_s), all of which must be in it; shape (10, to_s - from_s)."""
        found = np.empty((len(ROWS), to_s - from_s))
        for at, part in self._parts(from_s, to_s):
            found[:, at : at + part.stop - part.start] = self._values[:, part]
        return found

    def close_at(self, t: int) -> tuple[float, int] | None:
        """The newest close up to second `t`, and its second; None if there is none."""
        last = min(t + 1, self.end)
        for at in range(last, self.start, -600):
            from_s = max(self.start, at - 600)
            closes = self.between(from_s, at)[3]
            traded = np.flatnonzero(~np.isnan(closes))
            if traded.size:
                i = int(traded[-1])
                return float(closes[i]), from_s + i
        return None

    def _write(self, from_s: int, columns: Floats) -> None:
        for at, part in self._parts(from_s, from_s + columns.shape[1]):
            self._values[:, part] = columns[:, at : at + part.stop - part.start]

    def _parts(self, from_s: int, to_s: int) -> Iterator[tuple[int, slice]]:
        at = from_s
        while at < to_s:
            first = at % self._length
            count = min(to_s - at, self._length - first)
            yield at - from_s, slice(first, first + count)
            at += count


def empty(seconds: int) -> Floats:
    """Columns of seconds of which nothing is known."""
    columns = np.zeros((len(ROWS), seconds))
    columns[:PRICES] = np.nan
    return columns


def longer(columns: Floats, step: int) -> Floats:
    """Columns of `step` times as long bars: sums, and first, highest, lowest and last price.

    The number of columns must be a multiple of `step`.
    """
    if step == 1:
        return columns
    blocks = columns.reshape(len(columns), -1, step)
    found = np.empty(blocks.shape[:2])
    found[PRICES:] = blocks[PRICES:].sum(axis=2)
    found[1] = np.fmax.reduce(blocks[1], axis=1)
    found[2] = np.fmin.reduce(blocks[2], axis=1)
    known = ~np.isnan(blocks[3])
    first, last = known.argmax(axis=1), step - 1 - known[:, ::-1].argmax(axis=1)
    every = np.arange(len(first))
    found[0], found[3] = blocks[0][every, first], blocks[3][every, last]
    return found
