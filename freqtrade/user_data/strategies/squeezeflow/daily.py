"""What the day has brought so far, by freqtrade's own database and the prices it sees itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

DAY_MS = 86_400_000
SEEN_MS = 150_000


class Book(Protocol):
    """Where trades are kept. Profits: net, in the stake currency, by trade id."""

    def closed_since(self, ts_ms: int) -> Mapping[int, float]:
        """Profits of the trades that ended then or later."""

    def open_ids(self) -> Collection[int]:
        """Trades that are open."""

    def carried(self, day: int) -> Mapping[int, float]:
        """What trades had gained when this UTC day (days since the epoch) began."""

    def carry(self, day: int, profits: Mapping[int, float]) -> None:
        """Keep that across a restart."""


class DailyLoss:
    """Compares the result since 00:00 UTC with the equity at that time.

    What a position had gained or lost before midnight belongs to the day before, if it was seen
    shortly before midnight; else all of it counts. Deposits and withdrawals do not count.
    `limit`: share of the equity.
    """

    def __init__(self, book: Book, limit: float) -> None:
        self._book = book
        self._limit = limit
        self._seen: dict[int, dict[int, tuple[float, int]]] = {}  # day -> trade -> profit, when
        self._carried: dict[int, float] = {}
        self._day = -1
        self.result = 0.0

    def mark(self, trade_id: int, profit: float, now_ms: int) -> None:
        """Note the profit that an open trade would have now. Asks nobody, so it cannot fail."""
        self._seen.setdefault(now_ms // DAY_MS, {})[trade_id] = (profit, now_ms)

    def reached(self, balance: float, now_ms: int) -> bool:
        """Whether the day's loss has come to the limit. `balance`: without open profits."""
        self._turn(now_ms)
        closed = self._book.closed_since(self._day * DAY_MS)
        still_open = set(self._book.open_ids())
        seen = self._seen.get(self._day, {})
        profits = {t: profit for t, (profit, _) in seen.items() if t in still_open} | dict(closed)
        self.result = sum(p - self._carried.get(trade_id, 0.0) for trade_id, p in profits.items())
        known = self._carried.keys() & (still_open | closed.keys())
        at_midnight = balance - sum(closed.values()) + sum(self._carried[t] for t in known)
        return self.result < 0 and self.result <= -self._limit * max(at_midnight, 0.0)

    def _turn(self, now_ms: int) -> None:
        day = now_ms // DAY_MS
        if day <= self._day:
            return
        if self._day >= 0:
            since_ms = day * DAY_MS - SEEN_MS
            last = self._seen.get(day - 1, {})
            self._book.carry(day, {t: profit for t, (profit, at) in last.items() if at >= since_ms})
        self._carried = dict(self._book.carried(day))
        self._seen = {other: seen for other, seen in self._seen.items() if other >= day}
        self._day = day
