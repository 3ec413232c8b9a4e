"""When a market's silence means that something is broken. No I/O and no clock."""

from __future__ import annotations

MIN_S = 10.0
MAX_S = 600.0
MEAN_GAPS = 20.0
ESTABLISHED = 20
MEMORY_S = 600.0


class SilenceWatch:
    """Learns a market's own rate of trades and says when it has been quiet for too long.

    Allowed silence: `MEAN_GAPS` mean distances between trades, at least `MIN_S`, at most `MAX_S`:
    5 trades/s: 10 s; 1 in 2 s: 40 s; 1 a minute: 600 s. A market that has shown fewer than
    `ESTABLISHED` trades on this connection is never called silent, so a watch started anew after
    a reconnection does not ask for another one until the market has traded again.
    """

    __slots__ = ("_first", "_last_s", "_rate", "_start_s", "_total", "_traded_s")

    def __init__(self, now_s: float, total: int) -> None:
        self._start_s = self._last_s = self._traded_s = now_s
        self._rate = 0.0
        self._total = total
        self._first = total

    def silent_for(self, now_s: float, total: int) -> float | None:
        """Call about once a second with the number of trades so far; seconds if silent, or None."""
        elapsed = now_s - self._last_s
        if elapsed <= 0:
            return None
        if total > self._total:
            self._traded_s = now_s
        weight = elapsed / min(MEMORY_S, max(elapsed, now_s - self._start_s))
        self._rate += weight * ((total - self._total) / elapsed - self._rate)
        self._total, self._last_s = total, now_s
        if total - self._first < ESTABLISHED:
            return None
        quiet = now_s - self._traded_s
        return quiet if quiet > self.allowed_s() else None

    def allowed_s(self) -> float:
        """How long the market may be quiet."""
        return min(MAX_S, max(MIN_S, MEAN_GAPS / self._rate)) if self._rate > 0 else MAX_S
