"""The rolling window of one-second data, and one-minute closes."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _buffer(length: int) -> array[float]:
    return array("d", bytes(8 * length))


class SecondWindow:
    """The last `capacity` seconds, each series contiguous in memory.

    `c_spot`, `c_perp`: CVD accumulators in quote USD. `x`, `high`, `low`: natural log of the
    reference price. `holes`: running count of untrusted seconds. The newest second is at index
    `last`, second t at `last - (newest - t)`; indices change when a second is appended.

    Buffers are twice as long as the window: when they are full, the newest half moves to the
    front, so that appending costs constant time on average and any window is one slice.
    """

    def __init__(self, capacity: int, c_spot: float = 0.0, c_perp: float = 0.0) -> None:
        self.capacity = capacity
        self.c_spot, self.c_perp, self.x = (_buffer(2 * capacity) for _ in range(3))
        self.high, self.low, self.holes = (_buffer(2 * capacity) for _ in range(3))
        self.last = -1
        self.length = 0
        self._origin = (c_spot, c_perp)

    @property
    def latest(self) -> tuple[float, float]:
        """Both accumulators at the newest second."""
        if self.length == 0:
            return self._origin
        return self.c_spot[self.last], self.c_perp[self.last]

    def append(
        self, spot_delta: float, perp_delta: float, x: float, high: float, low: float, hole: bool
    ) -> None:
        """Add one second; `x`, `high`, `low` are log prices."""
        if self.last + 1 == 2 * self.capacity:
            self._move_to_front(self.capacity - 1)
        last = self.last
        c_spot, c_perp, holes = *self._origin, 0.0
        if self.length:
            c_spot, c_perp, holes = self.c_spot[last], self.c_perp[last], self.holes[last]
        last = self.last = last + 1
        self.c_spot[last] = c_spot + spot_delta
        self.c_perp[last] = c_perp + perp_delta
        self.x[last] = x
        self.high[last] = high
        self.low[last] = low
        self.holes[last] = holes + hole
        if self.length < self.capacity:
            self.length += 1

    def stage(
        self,
        spot_delta: Floats,
        perp_delta: Floats,
        x: Floats,
        high: Floats,
        low: Floats,
        holes: Floats,
    ) -> int:
        """Put at most `capacity` seconds behind the newest one; the index of the first of them.

        They become part of the window by `take`, and are forgotten by the next `append` or `stage`.
        """
        n = len(x)
        if self.last + n >= 2 * self.capacity:
            self._move_to_front(self.length)
        at, count = self.last + 1, self.holes[self.last] if self.length else 0.0
        # From left to right, as one second after another.
        for series, start, change in (
            (self.c_spot, self.latest[0], spot_delta),
            (self.c_perp, self.latest[1], perp_delta),
            (self.holes, count, holes),
        ):
            np.frombuffer(series)[at : at + n] = np.cumsum(np.concatenate(([start], change)))[1:]
        for series, values in ((self.x, x), (self.high, high), (self.low, low)):
            np.frombuffer(series)[at : at + n] = values
        return at

    def take(self, count: int) -> None:
        """Make the next `count` staged seconds part of the window."""
        self.last += count
        self.length = min(self.capacity, self.length + count)

    def set_origin(self, c_spot: float, c_perp: float) -> None:
        """Set the accumulators before the first second."""
        self._origin = (c_spot, c_perp)

    def _move_to_front(self, keep: int) -> None:
        stop = self.last + 1
        for series in self._all():
            series[:keep] = series[stop - keep : stop]
        self.last = keep - 1

    def _all(self) -> tuple[array[float], ...]:
        return (self.c_spot, self.c_perp, self.x, self.high, self.low, self.holes)

    def range(self, seconds: int) -> float:
        """Log range of the last `seconds` seconds."""
        first = self.last - seconds + 1
        stop = self.last + 1
        # The method `max` would take longer to get going than to look through so few values.
        high = np.maximum.reduce(np.frombuffer(self.high)[first:stop])
        low = np.minimum.reduce(np.frombuffer(self.low)[first:stop])
        return float(high - low)

    def slice(self, series: array[float], seconds: int) -> Floats:
        """Read-only view of the last `seconds` values of one of the series."""
        return np.frombuffer(series)[self.last - seconds + 1 : self.last + 1]

    def whole(self, seconds: int, hole_max: float) -> bool:
        """Whether a window of that length is loaded and has few enough holes."""
        return seconds < self.length and self.holes_in(seconds) <= hole_max * seconds

    def holes_in(self, seconds: int) -> float:
        """Holes among the last `seconds` seconds, which must be loaded and have one before them."""
        return self.holes[self.last] - self.holes[self.last - seconds]

    def shift(self, spot: float, perp: float) -> None:
        """Add constants to the accumulators of every second."""
        np.frombuffer(self.c_spot)[: self.last + 1] += spot
        np.frombuffer(self.c_perp)[: self.last + 1] += perp
        self._origin = (self._origin[0] + spot, self._origin[1] + perp)

    def hole_ages(self) -> list[list[int]]:
        """Runs of holes as [oldest, newest] ages in seconds before the newest second."""
        if self.length < 2 or self.holes_in(self.length - 1) == 0.0:
            return []
        flags = np.diff(self.slice(self.holes, self.length), prepend=0.0)
        flags[0] = 0.0
        edges = np.diff(flags > 0.0, prepend=False, append=False).nonzero()[0].tolist()
        newest = self.length - 1
        return [
            [newest - begin, newest - (stop - 1)]
            for begin, stop in zip(edges[::2], edges[1::2], strict=True)
        ]

    def mark_holes(self, ages: list[list[int]]) -> None:
        """Replace the holes of the window by these runs, as `hole_ages` gives them."""
        flags = np.zeros(self.length)
        newest = self.length - 1
        for oldest, youngest in ages:
            flags[max(0, newest - oldest) : max(0, newest - youngest + 1)] = 1.0
        np.frombuffer(self.holes)[self.last - newest : self.last + 1] = np.cumsum(flags)


class Closes:
    """The last `capacity` one-minute closes of one series, contiguous."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._values = np.zeros(2 * capacity)
        self._stop = 0
        self.length = 0

    def append(self, value: float) -> None:
        if self._stop == 2 * self.capacity:
            keep = self.capacity - 1
            self._values[:keep] = self._values[-keep:]
            self._stop = keep
        self._values[self._stop] = value
        self._stop += 1
        if self.length < self.capacity:
            self.length += 1

    @property
    def values(self) -> Floats:
        """View of all of them, oldest first."""
        return self._values[self._stop - self.length : self._stop]

    def change(self, minutes: int) -> float:
        """Newest close minus the close `minutes` before."""
        return float(self._values[self._stop - 1] - self._values[self._stop - 1 - minutes])

    def shift(self, amount: float) -> None:
        """Add a constant to every value."""
        self._values[: self._stop] += amount
