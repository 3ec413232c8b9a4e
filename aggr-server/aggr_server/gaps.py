"""Which seconds of which markets are not known to be complete. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aggr_server.wire import Gap

IN_FLIGHT_MS = 1000
"""Trades of this age may still have been under way when a connection broke."""

CLOCK_ERROR_MS = 500
"""How far a venue's clock may be ahead of ours when a subscription starts to deliver."""


def uncertain_since(lost_ms: int) -> int:
    """The first second that may be incomplete when nothing is certain after `lost_ms`."""
    return (lost_ms - IN_FLIGHT_MS) // 1000


@dataclass(slots=True)
class _Open:
    from_s: int
    reason: str


class GapBook:
    """Gaps that are open, and those that have ended since the last report.

    A gap is reported every second while it lasts, always from the same second and each time
    further, and once more when it has ended; records of the same start replace each other.
    """

    def __init__(self, interval_s: int = 1) -> None:
        self._interval_s = interval_s
        self._open: dict[str, _Open] = {}
        self._ended: list[Gap] = []
        self.recorded = 0

    def begin(self, markets: Iterable[str], from_s: int, reason: str) -> None:
        """Nothing is certain of `markets` since `from_s`; a gap that is open stays as it is."""
        for market in markets:
            if market not in self._open:
                self._open[market] = _Open(from_s // self._interval_s * self._interval_s, reason)
                self.recorded += 1

    def end(self, market: str, live_ms: int) -> int:
        """Data flows again since `live_ms`; return the first second that will be complete."""
        to_s = (live_ms + CLOCK_ERROR_MS) // 1000 + 1
        to_s = -(-to_s // self._interval_s) * self._interval_s
        if gap := self._open.pop(market, None):
            self._ended.append(Gap(market, gap.from_s, max(to_s, gap.from_s + 1), gap.reason))
        return to_s

    def add(self, gap: Gap) -> None:
        """Record a gap that is already over."""
        self._ended.append(gap)
        self.recorded += 1

    def forget(self, market: str) -> None:
        """The market is no longer followed."""
        self._open.pop(market, None)

    def is_open(self, market: str) -> bool:
        """Whether nothing certain is known of the market at present."""
        return market in self._open

    def report(self, second: int) -> list[Gap]:
        """What to record when `second` has closed."""
        ended, self._ended = self._ended, []
        going_on = [
            Gap(market, gap.from_s, max(second, gap.from_s) + 1, gap.reason)
            for market, gap in self._open.items()
        ]
        return ended + going_on
