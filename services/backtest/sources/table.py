"""Reads text files of any length, plain or gzip: bad lines are counted and named, not fatal."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

from services.backtest.errors import BacktestError

CHUNK_LINES = 200_000
NAMED = 3

Progress = Callable[[float], None]
"""Told the share done, 0 to 1."""


def silent(_: float) -> None:
    """Progress nobody looks at."""


def part_of(progress: Progress, i: int, count: int) -> Progress:
    """Progress of part `i` of `count` equal parts."""
    return lambda share: progress((i + share) / count)


@dataclass(slots=True)
class Flaws:
    """Lines of one file that could not be used; the first ones by number and cause."""

    path: Path
    count: int = 0
    named: list[str] = field(default_factory=list)
    truncated: bool = False

    def add(self, line: int, cause: str) -> None:
        """Line numbers start at 1, the header's."""
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(f"line {line}: {cause}")

    def text(self) -> str:
        """One line for the reader; empty without flaws."""
        parts = []
        if self.count:
            more = f", and {self.count - NAMED} more" if self.count > NAMED else ""
            parts.append(f"{self.count} bad lines left out ({'; '.join(self.named)}{more})")
        if self.truncated:
            parts.append("the file is cut off, what could be read was used")
        return f"{self.path.name}: {'; '.join(parts)}" if parts else ""


class Table:
    """Lines of a file in chunks. `header`: the first line; use as a context manager.

    Raises `BacktestError` if the file cannot be opened or is no text.
    """

    def __init__(self, path: Path, progress: Progress = silent) -> None:
        self.path = path
        self.flaws = Flaws(path)
        self.line = 1
        self._progress = progress
        try:
            self._size = max(1, path.stat().st_size)
            self._raw = path.open("rb")
        except OSError as error:
            raise BacktestError(f"{path}: {error.strerror or error}") from error
        self._text = self._decoded()
        try:
            self.header = self._text.readline().strip().lstrip("\ufeff")
        except (OSError, EOFError, zlib.error) as error:
            self.__exit__()
            raise BacktestError(f"{path}: not readable as gzip: {error}") from error

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()
        self._raw.close()

    def chunks(self) -> Iterator[tuple[int, list[str]]]:
        """(number of the first line, lines) after the header."""
        while lines := self._next():
            first = self.line + 1
            self.line += len(lines)
            yield first, lines
            self._progress(min(1.0, self._raw.tell() / self._size))

    def rest(self) -> Iterator[tuple[int, str]]:
        """(number, line) after the header, without empty ones."""
        for first, lines in self.chunks():
            for number, line in enumerate(lines, first):
                if stripped := line.strip():
                    yield number, stripped

    def columns(self, needed: tuple[str, ...], also: tuple[str, ...] = ()) -> dict[str, int]:
        """Where each column is. Raises `BacktestError` if one of `needed` is missing."""
        names = [name.strip().lower() for name in self.header.split(",")]
        missing = [name for name in needed if name not in names]
        if missing:
            raise BacktestError(
                f"{self.path}: no column {', '.join(missing)}; the first line must be "
                f"{','.join(needed)}"
            )
        return {name: names.index(name) for name in (*needed, *also) if name in names}

    def _decoded(self) -> TextIO:
        if self._raw.peek(2)[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=self._raw)
            return io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline=None)
        return io.TextIOWrapper(self._raw, encoding="utf-8", errors="replace", newline=None)

    def _next(self) -> list[str]:
        lines: list[str] = []
        try:
            for line in islice(self._text, CHUNK_LINES):
                lines.append(line)
        except (EOFError, OSError, zlib.error):
            self.flaws.truncated = True
        return lines
