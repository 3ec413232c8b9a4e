"""Which trades were counted already: by id, or by number where a venue numbers without gaps."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import msgspec

Id = int | str | tuple[int, float, float, bool]

REORDERED_MS = 2000
"""A number that is missing for longer than this is taken for lost."""

RENUMBERED_MS = 10_000
"""A known number on a trade that is newer than all others by this: the venue began anew."""

MAX_HOLES = 256

_TOO_LONG = 2**63


class RecentIds:
    """Remembers ids for at least `span_ms` of exchange time, at least the last `least` of them.

    Never more than the last `most`, and at most twice as much. Ids of trades from before
    `horizon_ms` may be forgotten. Numbers that grow are kept in a sorted array, a tenth of the
    size of a set.
    """

    __slots__ = (
        "_due",
        "_least",
        "_line",
        "_mark",
        "_most",
        "_new",
        "_old",
        "_past",
        "_past_turns",
        "_span_ms",
        "_top",
        "_turn_ms",
        "_turned_ms",
        "horizon_ms",
    )

    def __init__(self, least: int = 512, most: int = 64_000, span_ms: int = 60_000) -> None:
        self.horizon_ms = 0
        self._least = least
        self._most = most
        self._span_ms = span_ms
        self._line = array("q")
        self._top = -1
        self._mark = 0
        self._new: set[Id] = set()
        self._old: set[Id] = set()
        self._past: frozenset[Id] = frozenset()
        self._past_turns = 0
        self._due = least
        self._turn_ms = 0
        self._turned_ms = 0

    def add(self, id: Id, ts_ms: int, newest_ms: int) -> bool:
        """Remember an id; False if it is known, or may be: `ts_ms` lies before the horizon.

        `ts_ms`: time of its trade; `newest_ms`: of the newest one counted before.
        """
        if type(id) is int and self._top < id < _TOO_LONG:
            line = self._line
            if len(line) >= self._due:
                self._review(newest_ms)
            line.append(id)
            self._top = id
            return True
        return ts_ms >= self.horizon_ms and self._add_other(id, newest_ms)

    def remember(self, dated: Sequence[tuple[int, Id]]) -> None:
        """Remember ids that were counted otherwise, with their times, oldest first."""
        if len(dated) > self._most:
            self.horizon_ms = max(self.horizon_ms, dated[-self._most][0])
            dated = dated[-self._most :]
        if len(self._past) > self._most:
            self.horizon_ms = max(self.horizon_ms, dated[0][0])
            self._past = frozenset()
        self._past = self._past.union(id for _, id in dated)
        self._past_turns = 2
        numbers = [id for id in self._past if type(id) is int and id < _TOO_LONG]
        # A number above this one is a new one without being looked for.
        self._top = max(self._top, max(numbers, default=-1))

    def _add_other(self, id: Id, newest_ms: int) -> bool:
        if id in self._new or id in self._old or id in self._past:
            return False
        if type(id) is int and id < _TOO_LONG:
            place = bisect_left(self._line, id)
            if place < len(self._line) and self._line[place] == id:
                return False
        if len(self._new) >= self._least:
            self._review(newest_ms)
        self._new.add(id)
        return True

    def _review(self, newest_ms: int) -> None:
        """Forget what was remembered for long enough."""
        count = max(len(self._line) - self._mark, len(self._new))
        if newest_ms >= self._turn_ms or count >= self._most:
            if self._turned_ms:
                self.horizon_ms = max(self.horizon_ms, self._turned_ms + 1)
            self._old, self._new = self._new, set()
            del self._line[: self._mark]
            self._mark = len(self._line)
            self._turned_ms = newest_ms
            self._turn_ms = newest_ms + self._span_ms
            self._past_turns -= 1
            if self._past_turns == 0:
                self._past = frozenset()
        self._due = len(self._line) + self._least


class _Hole(msgspec.Struct):
    """Numbers [first, end) that were not counted, between trades of `from_ms` and `to_ms`."""

    first: int
    end: int
    from_ms: int
    to_ms: int
    noticed_ms: int
    told: bool


class Numbers:
    """Counts numbers that grow by one, each once, in whatever order they come.

    `next`: the number expected. Callers compare with it and add one themselves; `add` is for all
    other numbers.
    """

    __slots__ = ("_holes", "_lost", "next")

    def __init__(self) -> None:
        self.next = -1
        self._holes: list[_Hole] = []
        self._lost: list[tuple[int, int]] = []

    def add(self, number: int, ts_ms: int, newest_ms: int, now_ms: int) -> bool:
        """Count a number; False if it was counted before.

        `ts_ms`: time of its trade; `newest_ms`: of the newest one counted before, 0 if there is
        none.
        """
        if self.next < 0 or (number < self.next and ts_ms > newest_ms + RENUMBERED_MS):
            # What was before the first number is not known to be missing.
            self._holes = [_Hole(-(2**63), number, 0, 0, now_ms, told=True)]
        elif number < self.next:
            return self._fill(number, number + 1)
        elif number > self.next:
            early, late = min(newest_ms, ts_ms), max(newest_ms, ts_ms)
            # What lies before the first trade received is missed by nobody: it was not live yet.
            first = newest_ms == 0
            self._holes.append(_Hole(self.next, number, early, late, now_ms, told=first))
            self._bound()
        self.next = number + 1
        return True

    def remember(self, numbers: Iterable[int]) -> None:
        """Numbers that were counted otherwise, ascending."""
        for first, end in _runs(numbers):
            if self.next < 0:
                self._holes = [_Hole(-(2**63), first, 0, 0, 0, told=True)]
                self.next = end
            if first < self.next:
                self._fill(first, min(end, self.next))
            if end > self.next:
                if first > self.next:
                    self._holes.append(_Hole(self.next, first, 0, 0, 0, told=True))
                    self._bound()
                self.next = end

    def take_jumps(self, now_ms: int) -> list[tuple[int, int]]:
        """Times between which numbers are lost, each told once."""
        found, self._lost = self._lost, []
        for hole in self._holes:
            if not hole.told and now_ms - hole.noticed_ms >= REORDERED_MS:
                hole.told = True
                found.append((hole.from_ms, hole.to_ms))
        return found

    def _fill(self, first: int, end: int) -> bool:
        """Count [first, end); False if all of it was counted before."""
        holes = self._holes
        start = stop = max(0, bisect_right(holes, first, key=lambda hole: hole.first) - 1)
        rest: list[_Hole] = []
        found = False
        while stop < len(holes) and holes[stop].first < end:
            hole = holes[stop]
            stop += 1
            if hole.end <= first:
                rest.append(hole)
                continue
            found = True
            if hole.first < first:
                rest.append(msgspec.structs.replace(hole, end=first))
            if hole.end > end:
                rest.append(msgspec.structs.replace(hole, first=end))
        holes[start:stop] = rest
        return found

    def _bound(self) -> None:
        if len(self._holes) > MAX_HOLES:
            hole = self._holes.pop(1)
            if not hole.told:
                self._lost.append((hole.from_ms, hole.to_ms))


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Ascending numbers as ranges [first, end)."""
    first = end = None
    for number in numbers:
        if end is not None and first is not None and number > end:
            yield first, end
            first = number
        elif first is None:
            first = number
        end = number + 1
    if first is not None and end is not None:
        yield first, end
