"""Spools for tests, what is put into them, and a disk that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aggr_server.epitaph import decode
from aggr_server.spool import Spool
from aggr_server.wire import Bar, ClosedSecond

BEGIN = 1_700_000_000
SMALL = 1 << 20
"""Bytes of a spool whose segments take 64 KiB."""


def bar(second: int, market: str = "A:x", price: float = 1.0) -> Bar:
    return Bar(second, market, price, price, price, price, 2.0, 3.0, 1, 1, 0.0, 0.0)


def closed(number: int, markets: int = 1) -> ClosedSecond:
    second = BEGIN + number
    bars = [bar(second, f"A:{n}") for n in range(markets)]
    return ClosedSecond("c", "e", number, second, 0, None, bars)


class Opened:
    """Opens spools and closes them at the end, or as a crash would leave them."""

    def __init__(self) -> None:
        self._open: list[Spool] = []

    def __call__(self, folder: Path, max_bytes: int = SMALL, keep_s: int = 300) -> Spool:
        self.close()
        self._open.append(Spool.open(folder, max_bytes, keep_s=keep_s))
        return self._open[-1]

    def close(self) -> None:
        while self._open:
            self._open.pop().close()


def filled(made: Spool, numbers: range, markets: int = 1) -> Spool:
    for number in numbers:
        made.append(closed(number, markets))
    return made


async def seconds(made: Spool, limit: int = 1 << 20, *, confirm: bool = True) -> list[int]:
    """Everything that waits, as numbers of seconds, read on until there is no more."""
    found: list[int] = []
    while (unsent := await made.unsent(limit)).records:
        assert unsent.lost == []
        found += [decode(r.payload).second - BEGIN for r in unsent.records]
        made.confirm(unsent.records)
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


async def gaps_and_bars(made: Spool) -> tuple[set[int], set[int]]:
    """Seconds for which there are gaps, and those for which there are bars."""
    gaps: set[int] = set()
    bars: set[int] = set()
    while (unsent := await made.unsent(1 << 20)).records:
        assert unsent.lost == []
        for record in unsent.records:
            message = decode(record.payload)
            bars |= {b.time - BEGIN for b in message.bars}
            for gap in message.gaps:
                assert gap.reason == "overflow"
                gaps |= {second - BEGIN for second in range(gap.from_s, gap.to_s)}
        made.confirm(unsent.records)
    return gaps, bars


class Disk:
    """Fails as told instead of writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.room = 0
        """Bytes that still fit, if it fails."""
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: memoryview) -> int:
        if not self.error:
            return self._write(fd, data)
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        part = data[: self.room]
        self.room -= len(part)
        return self._write(fd, part)
