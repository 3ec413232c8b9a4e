"""Closed seconds on disk before anything else happens to them, until InfluxDB has them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from logging import getLogger
from pathlib import Path

import msgspec

from aggr_server import clock, segments
from aggr_server.epitaph import decode, encode, epitaph, merged
from aggr_server.framing import Record
from aggr_server.log import kv
from aggr_server.segments import Reader, Segments, SpoolUnusable
from aggr_server.throttle import Occasionally
from aggr_server.wire import ClosedSecond, Gap

SYNC_EVERY_S = 1.0
MEMORY_BYTES = 16 << 20
"""What may wait in memory for a disk that cannot be written."""

RECENT_BYTES = 2 << 20
LARGEST_SEGMENT = 4 << 20
SEGMENTS = 16
LATE_S = 2
"""A lost record may have amended seconds before its own."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_log = getLogger(__name__)


class Unsent(msgspec.Struct):
    """The oldest records that are not confirmed. `lost`: seconds [from, to) before or between them
    whose records cannot be read."""

    records: list[Record]
    lost: list[tuple[int, int]]


class Spool:
    """A journal in `folder` of at most `max_bytes`; made by `open`, ended by `close`.

    What is confirmed is kept for `keep_s` seconds. When there is no room for what is not, the
    oldest becomes gaps.
    """

    def __init__(self, folder: Path, lock: int, max_bytes: int, keep_s: int) -> None:
        self.last_second: int | None = None
        """The newest closed second, of this run or an earlier one."""
        self.trouble = ""
        """Why nothing can be written at present; empty if it can."""
        self.given_up = 0
        """Closed seconds for which there was no room."""
        self.max_bytes = max_bytes
        self._folder = folder
        self._lock = lock
        self._keep_s = keep_s
        self._segments = Segments(folder, min(LARGEST_SEGMENT, max_bytes // SEGMENTS))
        self._cursor = segments.read_cursor(folder)
        self._next = self._cursor
        self._sent_second: int | None = None
        self._recent: deque[Record] = deque()
        self._recent_bytes = 0
        self._unwritten: deque[Record] = deque()
        self._unwritten_bytes = 0
        self._reader = Reader(self._segments)
        self._lost: list[Gap] = []
        self._above_half = False
        self._complain = Occasionally(30.0)

    @classmethod
    def open(cls, folder: Path, max_bytes: int, *, keep_s: int = 300) -> Spool:
        """The journal as an earlier run left it. Raises `SpoolUnusable`, `SpoolInUse`."""
        lock = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = segments.lock(folder)
            spool = cls(folder, lock, max_bytes, keep_s)
            spool._load()
        except OSError as error:
            if lock >= 0:
                os.close(lock)
            raise SpoolUnusable(
                f"the spool's folder {folder} cannot be used: {error.strerror or error}; make it "
                "writable for this user, or set AGGR_DATA_DIR to a folder that is"
            ) from error
        return spool

    def close(self) -> None:
        """Sync and let go of the folder."""
        try:
            self._segments.close()
        except OSError as error:
            _log.error("spool not synced %s", kv(error=error))
        os.close(self._lock)

    @property
    def bytes(self) -> int:
        """What the journal takes on disk."""
        return self._segments.bytes

    @property
    def waiting(self) -> int:
        """Closed seconds that are not confirmed."""
        return self._next - self._cursor

    @property
    def waiting_bytes(self) -> int:
        """What is not confirmed, on disk and in memory."""
        if not self.waiting:
            return 0
        row, position = self._segments.row, self._segments.holding(self._cursor)
        on_disk = sum(s.size for s in row[position:])
        return on_disk - (row[position].sent if row else 0) + self._unwritten_bytes

    @property
    def alarm(self) -> str:
        """What somebody must do something about; empty: nothing."""
        if self.trouble:
            return f"the spool cannot be written: {self.trouble}; free or repair {self._folder}"
        if self._above_half:
            share = round(100 * self.waiting_bytes / self.max_bytes)
            return f"the spool is {share} % full: bring InfluxDB back before bars are given up"
        return ""

    def tail(self, seconds: int) -> list[ClosedSecond]:
        """The last `seconds` closed seconds as they were closed, oldest first."""
        if self.last_second is None:
            return []
        since, row = self.last_second - seconds, self._segments.row
        begin = max(0, len(row) - 1)
        while begin and row[begin].second > since:
            begin -= 1
        found: list[ClosedSecond] = []
        for segment in row[begin:]:
            try:
                records = segments.read(segment.path, 0, segment.size).records
            except OSError as error:
                _log.error("spool cannot be read %s", kv(segment=segment.path, error=error))
                continue
            for record in records:
                if record.count == 1 and record.second > since:
                    with suppress(msgspec.MsgspecError):
                        found.append(decode(record.payload))
        return found

    def append(self, closed: ClosedSecond) -> None:
        """Keep a closed second; it is on its way to the disk when this returns. Never fails."""
        record = Record(self._next, closed.second, encode(closed))
        self._next += 1
        if self.last_second is None or closed.second > self.last_second:
            self.last_second = closed.second
        self._unwritten.append(record)
        self._unwritten_bytes += record.size
        self._write_out()
        self._watch_level()

    async def unsent(self, limit: int) -> Unsent:
        """About `limit` bytes of the oldest unconfirmed records, at least one if there is one.

        Raises `OSError` if they cannot be read now.
        """
        begin = self._cursor
        memory = self._in_memory(limit)
        if begin == self._next or (memory and memory[0].first <= begin):
            return Unsent(memory, [])
        records = await self._reader.read(begin, limit) or self._in_memory(limit)
        return Unsent(records, list(self._holes(records)))

    def confirm(self, records: list[Record]) -> None:
        """`records`, as given by `unsent`, need not be given again."""
        on_disk = self._unwritten[0].first if self._unwritten else self._next
        for record in records:
            if self._cursor <= record.index < on_disk and self._segments.row:
                self._segments.row[self._segments.holding(record.index)].sent += record.size
        last = records[-1]
        self._cursor = max(self._cursor, last.index + 1)
        self._sent_second = last.second
        while self._recent and self._recent[0].index < self._cursor:
            self._recent_bytes -= self._recent.popleft().size
        # Only while the disk refuses them do records wait that are confirmed.
        while self._unwritten and self._unwritten[0].index < self._cursor:
            self._unwritten_bytes -= self._unwritten.popleft().size
        try:
            segments.write_cursor(self._folder, self._cursor)
            self._delete_old()
        except OSError as error:
            self._on_trouble(error)
        self._watch_level()

    def take_lost(self) -> list[Gap]:
        """Gaps for the bars given up since the last call; they are in the journal as well.

        None while the spool is short of room: fetching them would only fill it again.
        """
        if self._above_half or self.trouble:
            return []
        lost, self._lost = self._lost, []
        return lost

    async def run(self) -> None:
        """Bring to the disk for good what was written, for ever."""
        while True:
            await clock.sleep(SYNC_EVERY_S)
            if self._unwritten:
                self._write_out()
            try:
                await asyncio.to_thread(segments.sync, self._segments.take_unsynced())
            except OSError as error:
                self._on_trouble(error)

    def _load(self) -> None:
        records = self._segments.load()
        if records:
            self._next = max(self._cursor, records[-1].index + 1)
            self.last_second = records[-1].second
        if row := self._segments.row:
            segment = row[self._segments.holding(self._cursor)]
            for record in segments.read(segment.path, 0, segment.size).records:
                if record.index < self._cursor:
                    segment.sent += record.size
                    self._sent_second = record.second
        if self.waiting:
            _log.info("spool not empty %s", kv(seconds=self.waiting, bytes=self.waiting_bytes))
        self._watch_level()

    def _write_out(self) -> None:
        may_give_up = True
        while self._unwritten:
            record = self._unwritten[0]
            try:
                self._make_room(record.size)
                self._segments.append(record)
            except OSError as error:
                self._on_trouble(error)
                if error.errno in NO_ROOM and self._delete_confirmed():
                    continue
                if self._unwritten_bytes <= MEMORY_BYTES:
                    return
                if error.errno in NO_ROOM and may_give_up and self._give_up_oldest():
                    may_give_up = False
                    continue
                return self._give_up_memory()
            self._unwritten.popleft()
            self._unwritten_bytes -= record.size
            self._recent.append(record)
            self._recent_bytes += record.size
        bound = min(RECENT_BYTES, self.max_bytes // SEGMENTS)
        while len(self._recent) > 1 and self._recent_bytes > bound:
            self._recent_bytes -= self._recent.popleft().size
        if self.trouble:
            _log.info("spool can be written again %s", kv(folder=self._folder))
            self.trouble = ""

    def _make_room(self, size: int) -> None:
        while self.bytes + size > self.max_bytes:
            if not self._delete_confirmed() and not self._give_up_oldest():
                return

    def _confirmed(self, position: int) -> bool:
        row = self._segments.row
        return position + 1 < len(row) and row[position + 1].first <= self._cursor

    def _delete_confirmed(self) -> bool:
        """Remove the oldest confirmed segment."""
        if not self._confirmed(0):
            return False
        with suppress(OSError):
            self._segments.delete(0)
            return True
        return False

    def _delete_old(self) -> None:
        oldest = (self.last_second or 0) - self._keep_s
        while self._confirmed(0) and self._segments.row[1].second <= oldest:
            self._segments.delete(0)

    def _give_up_oldest(self) -> bool:
        """Turn the oldest unconfirmed segment into gaps, unless it is the one in use."""
        row = self._segments.row
        position = self._segments.holding(self._cursor)
        while position < len(row) - 1 and row[position].given_up:
            position += 1
        if position >= len(row) - 1:
            return False
        # An older one of the same kind becomes one with it, so that they do not pile up.
        begin = position - (position > 0 and row[position - 1].given_up)
        try:
            records = [
                record
                for segment in row[begin : position + 1]
                for record in segments.read(segment.path, 0, segment.size).records
                if record.index >= self._cursor
            ]
            if records:
                record, new = epitaph(records, max(self._cursor, records[0].first))
                self._segments.replace(position, record)
                self._lost = merged([*self._lost, *new])
                self._say_given_up(records)
            else:
                self._segments.delete(position)
            if begin < position:
                self._segments.delete(begin)
        except OSError as error:
            self._on_trouble(error)
            return False
        self._reader.forget()
        return True

    def _give_up_memory(self) -> None:
        """Turn the older half of what waits for the disk into gaps."""
        records: list[Record] = []
        while self._unwritten and self._unwritten_bytes > MEMORY_BYTES // 2:
            records.append(self._unwritten.popleft())
            self._unwritten_bytes -= records[-1].size
        record, new = epitaph(records, records[0].first)
        self._unwritten.appendleft(record)
        self._unwritten_bytes += record.size
        self._lost = merged([*self._lost, *new])
        self._say_given_up(records)

    def _say_given_up(self, records: Iterable[Record]) -> None:
        seconds = [record.second for record in records if record.count == 1]
        self.given_up += len(seconds)
        if seconds and self._complain("given up"):
            _log.error(
                "bars given up, the spool is full %s",
                kv(
                    from_s=seconds[0],
                    to_s=seconds[-1] + 1,
                    seconds=self.given_up,
                    remedy="bring InfluxDB back, or raise AGGR_SPOOL_MAX_BYTES",
                ),
            )

    def _in_memory(self, limit: int) -> list[Record]:
        taken: list[Record] = []
        for record in chain(self._recent, self._unwritten):
            limit -= record.size
            if taken and limit < 0:
                break
            taken.append(record)
        return taken

    def _holes(self, records: list[Record]) -> Iterator[tuple[int, int]]:
        expected, second = self._cursor, self._sent_second
        for record in records:
            if (missing := record.first - expected) > 0:
                begin = record.second - missing if second is None else second + 1
                yield min(begin, record.second) - LATE_S, record.second
            expected, second = record.index + 1, record.second

    def _watch_level(self) -> None:
        above = self.waiting_bytes > self.max_bytes // 2
        if above and not self._above_half:
            _log.error(
                "spool more than half full %s",
                kv(
                    bytes=self.waiting_bytes,
                    max_bytes=self.max_bytes,
                    seconds=self.waiting,
                    remedy="bring InfluxDB back before the oldest bars are given up",
                ),
            )
        self._above_half = above

    def _on_trouble(self, error: OSError) -> None:
        self.trouble = error.strerror or str(error)
        if self._complain("trouble"):
            _log.error(
                "spool cannot be written %s",
                kv(
                    folder=self._folder,
                    error=self.trouble,
                    seconds_in_memory=len(self._unwritten),
                    remedy="free or repair the disk; bars wait in memory meanwhile",
                ),
            )
