"""Taker volume of a symbol by exchange and kind of market. No input or output, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Venue = tuple[str, str]
"""Exchange, and kind: spot or perp."""

Volumes = Mapping[Venue, tuple[float, float]]
"""Taker buy and sell volume, USD."""

SECONDS = 900
MINUTES = 242
"""The four hours before any second, and the minute it is in."""

LONGEST_S = 14_400
WINDOWS_S = (60, SECONDS, LONGEST_S)


class VenueSums:
    """Each of the last 900 seconds and of the last 242 minutes. Seconds [end - 900, end)."""

    def __init__(self) -> None:
        self._venues: dict[Venue, int] = {}
        self._seconds: NDArray[np.float64] = np.zeros((0, 2, SECONDS))
        self._minutes: NDArray[np.float64] = np.zeros((0, 2, MINUTES))
        self.end = 0

    def reach(self, t: int) -> None:
        """Make second `t` the newest, unless a newer one is there already."""
        if t < self.end:
            return
        newest = (self.end - 1) // 60
        for second in range(max(self.end, t + 1 - SECONDS), t + 1):
            self._seconds[:, :, second % SECONDS] = 0.0
        for minute in range(max(newest + 1, t // 60 + 1 - MINUTES), t // 60 + 1):
            self._minutes[:, :, minute % MINUTES] = 0.0
        self.end = t + 1

    def put(self, t: int, volumes: Volumes) -> None:
        """Replace second `t`; one that is too old is left out."""
        if not self.end - SECONDS <= t < self.end:
            return
        at = self._rows(volumes)
        before = self._seconds[:, :, t % SECONDS].copy()
        self._seconds[:, :, t % SECONDS] = 0.0
        for venue, volume in volumes.items():
            self._seconds[at[venue], :, t % SECONDS] = volume
        change = self._seconds[:, :, t % SECONDS] - before
        self._minutes[:, :, t // 60 % MINUTES] += change

    def put_minutes(self, from_s: int, to_s: int, minutes: Mapping[int, Volumes]) -> None:
        """Replace the whole minutes of [from_s, to_s); those not named had no volume.

        Only those that begin before the seconds kept: later ones are the sums of their seconds.
        `minutes`: by their first second.
        """
        first = max(-(-from_s // 60), (self.end - 1) // 60 + 1 - MINUTES)
        for minute in range(first, min(to_s, self.end - SECONDS + 59) // 60):
            volumes = minutes.get(minute * 60, {})
            at = self._rows(volumes)
            self._minutes[:, :, minute % MINUTES] = 0.0
            for venue, volume in volumes.items():
                self._minutes[at[venue], :, minute % MINUTES] = volume

    def windows(self) -> dict[int, tuple[int, list[tuple[Venue, float, float]]]]:
        """Length -> first second, and the sums until now of each venue, the largest first."""
        found = {}
        for length in WINDOWS_S:
            since = self.end - length
            if length <= SECONDS:
                at = np.arange(since, self.end) % SECONDS
                sums = self._seconds[:, :, at].sum(axis=2)
            else:
                since -= since % 60
                at = np.arange(since // 60, (self.end - 1) // 60 + 1) % MINUTES
                sums = self._minutes[:, :, at].sum(axis=2)
            rows = (
                (venue, buy, sell)
                for venue, (buy, sell) in zip(self._venues, sums.tolist(), strict=True)
                if buy + sell > 0.0
            )
            found[length] = since, sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))
        return found

    def _rows(self, venues: Iterable[Venue]) -> Mapping[Venue, int]:
        for venue in venues:
            if venue not in self._venues:
                self._venues[venue] = len(self._venues)
        if missing := len(self._venues) - len(self._seconds):
            self._seconds = np.concatenate([self._seconds, np.zeros((missing, 2, SECONDS))])
            self._minutes = np.concatenate([self._minutes, np.zeros((missing, 2, MINUTES))])
        return self._venues
