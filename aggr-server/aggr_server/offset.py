"""How far a venue's time stamps are from our clock. No I/O and no clock."""

from __future__ import annotations

from collections import deque

from aggr_server.gaps import CLOCK_ERROR_MS, IN_FLIGHT_MS

SAMPLES = 60


class VenueClock:
    """Learns from the age at which trades arrive. Times in ms.

    What is looked at once a second is up to a second older than it was on arrival; that errs on
    the safe side, because gaps become longer by it, never shorter.
    """

    def __init__(self) -> None:
        self._ages: deque[int] = deque(maxlen=SAMPLES)
        self._lags: deque[int] = deque(maxlen=SAMPLES)
        self._newest_ms = 0

    def observe(self, newest_ms: int, now_ms: int, lag_ms: int = 0) -> None:
        """`newest_ms`: exchange time of the newest trade of any of the venue's markets; `lag_ms`:
        the longest that one of the latest trades was under way."""
        if newest_ms > self._newest_ms:
            self._newest_ms = newest_ms
            self._ages.append(now_ms - newest_ms)
            self._lags.append(lag_ms)

    @property
    def ahead_ms(self) -> int:
        """How much younger than our clock a trade may be dated."""
        return max(0, -min(self._ages, default=0))

    def uncertain_since(self, lost_ms: int) -> int:
        """The first second that may be incomplete when nothing is certain after `lost_ms`."""
        under_way_ms = max((0, *self._ages, *self._lags))
        return (lost_ms - IN_FLIGHT_MS - under_way_ms) // 1000

    def certain_from(self, live_ms: int) -> int:
        """The first second that is complete when everything is received since `live_ms`."""
        return (live_ms + self.ahead_ms + CLOCK_ERROR_MS) // 1000 + 1
