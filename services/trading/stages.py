"""How long each part of a second's way takes, measured while the service runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

KEPT = 600
"""Measurements kept of each part: ten minutes."""

PARTS = ("bus", "assemble", "decide", "write", "second", "signal", "jitter")


def spread(values: Iterable[float]) -> dict[str, float]:
    """Count, median, 99th percentile and maximum; nothing for no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    n = len(ordered)
    picked = {"median": ordered[n // 2], "p99": ordered[min(n - 1, n * 99 // 100)]}
    return {"count": n, **{k: round(v, 3) for k, v in picked.items()}, "max": round(ordered[-1], 3)}


class Stages:
    """Milliseconds of the last ten minutes.

    `bus`: from a second's publication to its arrival; `assemble`: until it is handed out; `decide`:
    until all symbols have been evaluated; `write`: until Redis has acknowledged what follows;
    `second`: the last three together. `signal`: from the publication of the bars that led to a
    signal until it stood in Redis. `jitter`: how far the way from one evaluation to the next was
    from a second, whichever direction.
    """

    def __init__(self, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._monotonic = monotonic
        self._kept: dict[str, deque[float]] = {part: deque(maxlen=KEPT) for part in PARTS}
        self._fresh: dict[str, deque[float]] = {part: deque(maxlen=KEPT) for part in PARTS}
        self._arrived: float | None = None
        self._taken: tuple[int, float] | None = None
        self._arrived_of_turn: float | None = None
        self._decided: float | None = None

    def arrived(self, bus_ms: float) -> None:
        """A message has come in."""
        self._arrived = self._monotonic()
        self._keep("bus", bus_ms)

    def taken(self, first_t: int, last_t: int) -> None:
        """These seconds have been handed out and are evaluated now."""
        now = self._monotonic()
        self._arrived_of_turn, self._arrived = self._arrived, None
        if self._arrived_of_turn is not None:
            self._keep("assemble", (now - self._arrived_of_turn) * 1000)
        if self._taken is not None and self._taken[0] + 1 == first_t == last_t:
            self._keep("jitter", abs(now - self._taken[1] - 1.0) * 1000)
        self._taken = last_t, now

    def decided(self) -> float:
        """They have been evaluated; how long that took, ms."""
        self._decided = self._monotonic()
        if self._taken is None:
            return 0.0
        took_ms = (self._decided - self._taken[1]) * 1000
        self._keep("decide", took_ms)
        return took_ms

    def written(self) -> None:
        """Redis has acknowledged everything that was told until then."""
        if self._decided is None:
            return
        now = self._monotonic()
        self._keep("write", (now - self._decided) * 1000)
        if self._arrived_of_turn is not None:
            self._keep("second", (now - self._arrived_of_turn) * 1000)
        self._decided = self._arrived_of_turn = None

    def signalled(self, published_ms: int, now_ms: int) -> None:
        """A signal stands in Redis that follows from bars published at `published_ms`."""
        if published_ms:
            self._keep("signal", float(now_ms - published_ms))

    def figures(self) -> dict[str, dict[str, float]]:
        """`spread` of every part that was measured."""
        return {part: spread(values) for part, values in self._kept.items() if values}

    def latest(self) -> dict[str, dict[str, float]]:
        """Median and 99th percentile of what was measured since this was last asked for."""
        found = {}
        for part, values in self._fresh.items():
            if values:
                measured = spread(values)
                found[part] = {"median": measured["median"], "p99": measured["p99"]}
                values.clear()
        return found

    def _keep(self, part: str, ms: float) -> None:
        self._kept[part].append(ms)
        self._fresh[part].append(ms)
