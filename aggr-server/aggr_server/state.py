"""What a collector must know after a restart: markets it followed, gaps that are not closed."""

from __future__ import annotations

import asyncio
from itertools import count
from logging import getLogger
from pathlib import Path
from threading import Lock

import msgspec

from aggr_server.exchanges.base import StreamKind
from aggr_server.files import replace_file
from aggr_server.gaps import GapBook, Span
from aggr_server.log import kv
from aggr_server.throttle import Occasionally

_log = getLogger(__name__)


class Saved(msgspec.Struct):
    """Content of the file. `followed`: markets and the kinds of data they were followed for."""

    followed: dict[str, list[StreamKind]] = {}
    spans: list[Span] = []


_decoder = msgspec.json.Decoder(Saved)


def load(path: Path) -> Saved:
    """What was saved last; nothing if there is no file, or none that can be read."""
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return Saved()
    except (OSError, msgspec.MsgspecError) as error:
        _log.error(
            "gaps of the last run not readable, recorded ones stay as they are %s",
            kv(file=path, error=error),
        )
        return Saved()


class Keeper:
    """Saves the state on change; the event loop never waits for the disk.

    `followed`: changed by its owner, who calls `touch` then.
    """

    def __init__(self, path: Path, book: GapBook) -> None:
        self.followed: dict[str, list[StreamKind]] = {}
        self._path = path
        self._book = book
        self._news = asyncio.Event()
        self._saved_version = -1
        self._numbers = count(1)
        self._written = 0
        self._writing = Lock()
        self._complain = Occasionally(60.0)

    def touch(self) -> None:
        """Something has changed."""
        self._news.set()

    def look(self) -> None:
        """Save if the gaps have changed since the last time."""
        if self._book.version != self._saved_version:
            self._news.set()

    async def run(self) -> None:
        """Save for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            self._saved_version = self._book.version
            try:
                await asyncio.to_thread(self._write, next(self._numbers), self._encode())
            except OSError as error:
                self._failed(error)

    def save(self) -> None:
        """Save at once, for the last time."""
        try:
            self._write(next(self._numbers), self._encode())
        except OSError as error:
            self._failed(error)

    def _write(self, number: int, data: bytes) -> None:
        # A cancelled `run` may leave a thread that is still about to write.
        with self._writing:
            if number > self._written:
                replace_file(self._path, data)
                self._written = number

    def _encode(self) -> bytes:
        return msgspec.json.encode(Saved(self.followed, list(self._book.spans())))

    def _failed(self, error: OSError) -> None:
        self._saved_version = -1
        if self._complain():
            remedy = "a restart would forget these gaps; check AGGR_DATA_DIR"
            _log.error("gaps not kept %s", kv(file=self._path, error=error, remedy=remedy))
