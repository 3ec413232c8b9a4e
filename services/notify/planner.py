"""Which message goes out next: one for each notice, or one for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.notify.notices import RANK, Kind, Notice, Tone, clock, shorten
from services.notify.quiet import QuietHours

MINUTE_MS = 60_000
OLD_MS = 10 * MINUTE_MS
LATE_MS = 30_000
CAPACITY = 2_000
LINES = 10
LONGEST_LINE = 160
BURST = 4
"""After a calm so many minutes' messages may go out at once: one each for faults that coincide."""

_WORDS: dict[Kind, str] = {
    "opened": "opened",
    "closed": "closed",
    "refused": "refused",
    "alert": "alerts",
    "over": "over",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, and the notices it tells."""

    title: str
    body: str
    tone: Tone
    notices: tuple[Notice, ...]
    left_out: int = 0

    @property
    def critical(self) -> bool:
        """Whether it tells of nothing less."""
        return not self.left_out and all(n.level == "critical" for n in self.notices)


class Planner:
    """Notices of one channel that were not told yet.

    `max_per_minute` messages a minute in the long run, `BURST` times as many at once, and the same
    again of critical ones; what is more, or older than ten minutes, is told in one summary. In the
    quiet hours only critical notices go out. Beyond `capacity` the oldest and least critical are
    only counted.
    """

    def __init__(
        self, max_per_minute: int, quiet: QuietHours | None = None, capacity: int = CAPACITY
    ) -> None:
        self._quiet = quiet
        self._capacity = capacity
        self._waiting: dict[str, Notice] = {}
        self._left_out = 0
        self._budgets = {False: _Budget(max_per_minute), True: _Budget(max_per_minute)}

    def __len__(self) -> int:
        return len(self._waiting) + self._left_out

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def add(self, notice: Notice) -> Notice | None:
        """Take a notice in; the one that had to be left out for it, if any."""
        self._waiting[notice.key] = notice
        if len(self._waiting) <= self._capacity:
            return None
        least = min(self._waiting.values(), key=lambda n: (RANK[n.level], n.ts_ms))
        self._left_out += 1
        return self._waiting.pop(least.key)

    def lost(self) -> None:
        """A notice could not be read in time; it counts in the next summary."""
        self._left_out += 1

    def next(self, now_ms: int) -> Message | None:
        """What to send now, None if nothing may be. It stays planned until `sent` is called."""
        quiet = self._quiet is not None and self._quiet.contain(now_ms)
        due = [n for n in self._waiting.values() if n.level == "critical" or not quiet]
        old = [n for n in due if now_ms - n.ts_ms > OLD_MS]
        left_out = 0 if quiet else self._left_out
        if len(old) > 1 or left_out:
            message = _summary(old, left_out, now_ms)
            if self._budgets[message.critical].free(now_ms):
                return message
        for critical in (True, False):
            group = [n for n in due if (n.level == "critical") is critical]
            free = self._budgets[critical].free(now_ms)
            if not group or not free:
                continue
            return _single(group[0], now_ms) if len(group) <= free else _summary(group, 0, now_ms)
        return None

    def sent(self, message: Message, now_ms: int) -> None:
        """A message has reached its channel."""
        for notice in message.notices:
            self._waiting.pop(notice.key, None)
        self._left_out -= message.left_out
        self._budgets[message.critical].take(now_ms)


class _Budget:
    """Messages that may be sent: a token bucket."""

    def __init__(self, per_minute: int) -> None:
        self._per_ms = per_minute / MINUTE_MS
        self._most = float(BURST * per_minute)
        self._left = self._most
        self._at_ms = 0

    def free(self, now_ms: int) -> int:
        """How many may be sent now."""
        # The clock may have been set back.
        passed_ms = max(0, now_ms - self._at_ms)
        self._left = min(self._most, self._left + passed_ms * self._per_ms)
        self._at_ms = now_ms
        return int(self._left + 1e-9)

    def take(self, now_ms: int) -> None:
        """One was sent."""
        self.free(now_ms)
        self._left -= 1.0


def _single(notice: Notice, now_ms: int) -> Message:
    body = notice.body
    if now_ms - notice.ts_ms > LATE_MS:
        body = f"{body} (at {clock(notice.ts_ms)})"
    return Message(notice.title, body, notice.tone, (notice,))


def _summary(notices: Sequence[Notice], left_out: int, now_ms: int) -> Message:
    """One message for many notices, the most critical and newest of them one line each."""
    count = len(notices) + left_out
    ranked = sorted(notices, key=lambda n: (RANK[n.level], n.ts_ms), reverse=True)[:LINES]
    lines = [
        shorten(f"{clock(n.ts_ms)[11:19]} {n.title}: {n.body}", LONGEST_LINE)
        for n in sorted(ranked, key=lambda n: n.ts_ms)
    ]
    if notices:
        first, last = min(n.ts_ms for n in notices), max(n.ts_ms for n in notices)
        lines.insert(0, f"From {clock(first)} to {clock(last)}.")
    if (rest := len(notices) - len(ranked)) > 0:
        lines.append(f"and {rest} more")
    if left_out:
        lines.append(f"{left_out} more were left out: too many waited to be sent")
    worst = max((n.level for n in notices), key=RANK.__getitem__, default="warning")
    tone: Tone = "failure" if worst == "critical" else "warning"
    title = f"{count} messages: {_counts(notices)}" if notices else f"{count} messages left out"
    return Message(shorten(title, LONGEST_LINE), "\n".join(lines), tone, tuple(notices), left_out)


def _counts(notices: Sequence[Notice]) -> str:
    by_kind: dict[Kind, list[Notice]] = {kind: [] for kind in _WORDS}
    for notice in notices:
        by_kind[notice.kind].append(notice)
    return ", ".join(
        f"{len(found)} {_WORDS[kind]}{_profit(found)}" for kind, found in by_kind.items() if found
    )


def _profit(notices: Sequence[Notice]) -> str:
    totals: dict[str, float] = {}
    for notice in notices:
        if notice.pnl is not None:
            totals[notice.currency] = totals.get(notice.currency, 0.0) + notice.pnl
    if not totals:
        return ""
    return " (" + ", ".join(f"{total:+.2f} {name}" for name, total in totals.items()) + ")"
