"""What each market did lately: trades per second, and gaps. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from aggr_server.wire import Bar, Gap

RATE_S = 60
GAPS_S = 86_400
MAX_GAPS = 200
"""Gaps kept of one market; the oldest are forgotten first."""


class Rates:
    """Trades per second over the last minute of closed seconds."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, dict[str, int]]] = deque()
        self._sums: dict[str, int] = {}

    def add(self, second: int, bars: Iterable[Bar]) -> None:
        """Count the trades of a closed second."""
        trades = {b.market: count for b in bars if (count := b.cbuy + b.csell)}
        self._seconds.append((second, trades))
        for market, count in trades.items():
            self._sums[market] = self._sums.get(market, 0) + count
        while self._seconds[0][0] <= second - RATE_S:
            for market, count in self._seconds.popleft()[1].items():
                self._sums[market] -= count
                if not self._sums[market]:
                    del self._sums[market]

    def of(self, market: str) -> float:
        """Trades per second; while less than a minute is known, of what is."""
        if not self._seconds:
            return 0.0
        seconds = self._seconds[-1][0] - self._seconds[0][0] + 1
        return self._sums.get(market, 0) / seconds


class GapLog:
    """Gaps as they were last reported, for a day."""

    def __init__(self) -> None:
        self._gaps: dict[str, dict[tuple[str, int], Gap]] = {}

    def add(self, gaps: Iterable[Gap]) -> None:
        """A later report replaces the earlier one; an empty gap is none."""
        for gap in gaps:
            of_market = self._gaps.setdefault(gap.market, {})
            if gap.to_s > gap.from_s:
                of_market[gap.reason, gap.from_s] = gap
            else:
                of_market.pop((gap.reason, gap.from_s), None)
            while len(of_market) > MAX_GAPS:
                del of_market[min(of_market, key=lambda key: key[1])]

    def of(self, market: str, now_s: int) -> list[Gap]:
        """Gaps of a market that ended within a day before `now_s`, oldest first."""
        of_market = self._gaps.get(market, {})
        for key in [k for k, gap in of_market.items() if gap.to_s <= now_s - GAPS_S]:
            del of_market[key]
        return sorted(of_market.values(), key=lambda gap: gap.from_s)
