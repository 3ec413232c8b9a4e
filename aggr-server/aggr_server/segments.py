"""The files of the spool: a row of segments, appended to at the end, and a cursor."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from aggr_server.framing import HEAD_BYTES, Record, Scan, pack, scan
from aggr_server.log import kv

SUFFIX = ".segment"
CURSOR = "cursor"
LOCK = "lock"
MAX_UNSYNCED = 32
"""Descriptors kept for `sync`; with more of them, nobody calls it."""

_log = getLogger(__name__)


class SpoolUnusable(Exception):
    """The folder cannot be used; the text says why, and what to do."""


class SpoolInUse(Exception):
    """Another process uses the folder; the text says which, and what to do."""


@dataclass(slots=True, eq=False)
class Segment:
    """A file. `first`: index of its first record when it was begun, also its name.

    `second`: that record's. `sent`: bytes of it that are confirmed. `given_up`: it holds nothing
    but one record that stands for lost ones.
    """

    path: Path
    first: int
    second: int
    size: int
    sent: int = 0
    given_up: bool = False


class Segments:
    """The segments in order, the last one open for appending. Methods raise `OSError`."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self.row: list[Segment] = []
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._unsynced: list[int] = []
        self._dirty = False

    @property
    def bytes(self) -> int:
        """What all segments take on disk."""
        return sum(segment.size for segment in self.row)

    def holding(self, index: int) -> int:
        """Position in the row of the segment in which that record is, or would be."""
        return max(0, bisect_right(self.row, index, key=lambda segment: segment.first) - 1)

    def load(self) -> list[Record]:
        """Find the segments of an earlier run; the records of the last one that is not empty.

        What an interrupted write left behind the last whole record is cut off.
        """
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path.stem.isdigit():
                self.row.append(Segment(path, int(path.stem), 0, path.stat().st_size))
        records: list[Record] = []
        while self.row and not records:
            last = self.row[-1]
            found = scan(last.path.read_bytes())
            records = found.records
            if found.end < last.size:
                _log.warning(
                    "spool ended in the middle of a record, which is cut off %s",
                    kv(segment=last.path, bytes=last.size - found.end),
                )
                os.truncate(last.path, found.end)
                last.size = found.end
            if not records:
                last.path.unlink()
                self.row.pop()
        for segment in self.row:
            head = read(segment.path, 0, HEAD_BYTES).records
            segment.second = head[0].second if head else 0
            segment.given_up = bool(head) and head[0].count > 1
        return records

    def append(self, record: Record) -> None:
        """Write one record, whole or not at all."""
        last = self.row[-1] if self.row else None
        if self._fd is None or last is None or last.size >= self._segment_bytes:
            last = self._begin(record)
        assert self._fd is not None
        try:
            _write_all(self._fd, pack(record))
        except OSError:
            self._undo(last)
            raise
        last.size += record.size
        self._dirty = True

    def delete(self, position: int) -> None:
        """Remove a segment; never the last one."""
        self.row[position].path.unlink(missing_ok=True)
        del self.row[position]

    def replace(self, position: int, record: Record) -> None:
        """Put one record in the place of all that a segment holds.

        It is written over them, since there may be no room for a new file.
        """
        segment = self.row[position]
        frame = pack(record)
        fd = os.open(segment.path, os.O_WRONLY)
        try:
            os.pwrite(fd, frame, 0)
            os.ftruncate(fd, len(frame))
        finally:
            os.close(fd)
        segment.size, segment.sent, segment.given_up = len(frame), 0, True

    def take_unsynced(self) -> list[int]:
        """Descriptors to be given to `sync`, by which they are closed."""
        taken, self._unsynced = self._unsynced, []
        if self._dirty and self._fd is not None:
            taken.append(os.dup(self._fd))
            self._dirty = False
        return taken

    def close(self) -> None:
        """Finish with the files."""
        sync(self.take_unsynced())
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _begin(self, record: Record) -> Segment:
        if len(self._unsynced) > MAX_UNSYNCED:
            sync(self.take_unsynced())
        path = self._folder / f"{record.first:020d}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o640)
        if self._fd is not None:
            self._unsynced.append(self._fd)
        self._fd = fd
        # The file's name must survive a power cut as well.
        self._unsynced.append(os.open(self._folder, os.O_RDONLY))
        segment = Segment(path, record.first, record.second, 0)
        if self.row and self.row[-1].path == path:
            self.row.pop()
        self.row.append(segment)
        return segment

    def _undo(self, segment: Segment) -> None:
        assert self._fd is not None
        try:
            os.ftruncate(self._fd, segment.size)
        except OSError:
            # The next record begins a new file; readers pass over what is left in this one.
            os.close(self._fd)
            self._fd = None
            with suppress(OSError):
                segment.size = segment.path.stat().st_size


class Reader:
    """Reads on where it stopped, off the event loop."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._stopped: tuple[int, int, int] | None = None
        self._damaged: set[int] = set()

    def forget(self) -> None:
        """A segment has been replaced: begin at the begin of the next one to be read."""
        self._stopped = None

    async def read(self, index: int, limit: int) -> list[Record]:
        """About `limit` bytes of records of one segment, from `index` or the next one there is.

        Raises `OSError` if trying again may help; what is damaged is passed over.
        """
        row, position = self._segments.row, self._segments.holding(index)
        while position < len(row):
            segment = row[position]
            try:
                records = await self._from(segment, index, limit)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EIO):
                    raise
                _log.error("spool cannot be read %s", kv(segment=segment.path, error=error))
                records = []
            if records:
                return records
            # The row may have changed meanwhile.
            position = bisect_right(row, segment.first, key=lambda each: each.first)
        return []

    async def _from(self, segment: Segment, index: int, limit: int) -> list[Record]:
        offset = 0
        if self._stopped and self._stopped[:2] == (index, segment.first):
            offset = self._stopped[2]
        while True:
            found = await asyncio.to_thread(read, segment.path, offset, limit)
            if found.skipped and segment.first not in self._damaged:
                self._damaged.add(segment.first)
                _log.error("spool is damaged %s", kv(segment=segment.path, bytes=found.skipped))
            if records := [r for r in found.records if r.index >= index]:
                self._stopped = (records[-1].index + 1, segment.first, found.end)
                return records
            if not found.records:
                return []
            offset = found.end


def read(path: Path, offset: int, limit: int) -> Scan:
    """Records from `offset` on, about `limit` bytes of them; offsets count from the file's begin.

    At least one record, if there is one. Raises `OSError`.
    """
    with path.open("rb") as file:
        while True:
            file.seek(offset)
            data = file.read(max(limit, HEAD_BYTES))
            found = scan(data)
            if found.records or len(data) < max(limit, HEAD_BYTES):
                found.end += offset
                return found
            limit = max(limit, HEAD_BYTES) * 2


def sync(descriptors: list[int]) -> None:
    """Make sure that what was written survives a power cut; close the descriptors."""
    for number, fd in enumerate(descriptors):
        try:
            os.fsync(fd)
        except OSError:
            for rest in descriptors[number + 1 :]:
                os.close(rest)
            raise
        finally:
            os.close(fd)


def lock(folder: Path) -> int:
    """Keep other processes out; a descriptor to be held open. Raises `SpoolInUse`, `OSError`."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        raise SpoolInUse(
            f"{folder} is in use by another collector (process {holder or 'unknown'}): stop that "
            "one, or give this one an AGGR_DATA_DIR of its own"
        ) from None
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def read_cursor(folder: Path) -> int:
    """Index of the first record that is not confirmed; 0 if that is not known."""
    try:
        text = (folder / CURSOR).read_text(encoding="ascii").strip()
        return int(text) if text.isdigit() else 0
    except (OSError, ValueError):
        return 0


def write_cursor(folder: Path, index: int) -> None:
    """Replace the cursor in one step. Raises `OSError`."""
    temporary = folder / f"{CURSOR}.new"
    temporary.write_text(f"{index}\n", encoding="ascii")
    temporary.replace(folder / CURSOR)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
