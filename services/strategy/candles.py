"""Closed candles of a fixed length, built from closed minutes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import NamedTuple


class Candle(NamedTuple):
    """`t`: UTC second at which it starts. Prices: natural logs. Volumes: quote USD per class.

    `c_spot`: spot CVD accumulator at its close.
    """

    t: int
    open: float
    high: float
    low: float
    close: float
    spot_volume: float
    perp_volume: float
    c_spot: float


class Candles:
    """The last `capacity` closed candles of `seconds` length, oldest first."""

    def __init__(self, seconds: int, capacity: int) -> None:
        self.seconds = seconds
        self.closed: deque[Candle] = deque(maxlen=capacity)
        self._parts: list[Candle] = []

    def add(self, minute: Candle) -> bool:
        """Take in a closed minute; True if it closed a candle. Incomplete ones are left out."""
        if minute.t % self.seconds == 0:
            self._parts = []
        self._parts.append(minute)
        parts = self._parts
        if (minute.t + 60) % self.seconds or 60 * len(parts) != self.seconds:
            return False
        self.closed.append(
            Candle(
                parts[0].t,
                parts[0].open,
                max(part.high for part in parts),
                min(part.low for part in parts),
                minute.close,
                sum(part.spot_volume for part in parts),
                sum(part.perp_volume for part in parts),
                minute.c_spot,
            )
        )
        self._parts = []
        return True

    def since(self, t: int, at_most: int) -> list[Candle]:
        """The newest closed candles that start at or after `t`, oldest first, at most so many."""
        found: list[Candle] = []
        for candle in reversed(self.closed):
            if candle.t < t or len(found) == at_most:
                break
            found.append(candle)
        found.reverse()
        return found

    def median_volumes(self, count: int) -> tuple[float, float]:
        """Median spot and perp volume of the `count` candles before the newest; 0 if none."""
        newest = len(self.closed) - 1
        before = [self.closed[i] for i in range(max(0, newest - count), max(0, newest))]
        return (
            median([candle.spot_volume for candle in before]),
            median([candle.perp_volume for candle in before]),
        )

    def shift(self, spot: float) -> None:
        """Add a constant to the accumulator at every close."""
        self.closed = deque(
            (candle._replace(c_spot=candle.c_spot + spot) for candle in self.closed),
            maxlen=self.closed.maxlen,
        )
        self._parts = [part._replace(c_spot=part.c_spot + spot) for part in self._parts]


def median(values: list[float]) -> float:
    """Middle value, mean of the two middle ones; 0 for an empty list."""
    return _middle(sorted(values))


def _middle(ordered: list[float]) -> float:
    n = len(ordered)
    if n == 0:
        return 0.0
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])


class MedianRange:
    """Median log range of the last `capacity` candles."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, candle: Candle) -> None:
        value = candle.high - candle.low
        self._in_order.append(value)
        insort(self._sorted, value)
        if len(self._in_order) > self._capacity:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]

    @property
    def value(self) -> float:
        """0 while there is no candle."""
        return _middle(self._sorted)
