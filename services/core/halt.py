"""The kill switch as its readers remember it: the newest record counts, whatever Redis forgets."""

from __future__ import annotations

import os
from logging import getLogger
from pathlib import Path

import msgspec

from aggr_server.log import kv
from services.core.records import Halt

NEVER_SET = Halt(halted=False, ts_ms=0)

_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(Halt)
_log = getLogger(__name__)


def decode(raw: bytes, now_ms: int) -> Halt:
    """The record in `raw`; one that halts from now on if it cannot be read.

    Whoever set the key by hand wanted the entries to end.
    """
    try:
        return _decoder.decode(raw)
    except msgspec.DecodeError:
        return Halt(halted=True, ts_ms=now_ms, by="unknown", reason="the record cannot be read")


def outranks(one: Halt, other: Halt) -> bool:
    """Whether `one` counts and not `other`: it is newer, or as new and halts."""
    return (one.ts_ms, one.halted) > (other.ts_ms, other.halted)


def describe(halt: Halt) -> str:
    """`halted by NAME: REASON`, or an empty text if entries are allowed."""
    if not halt.halted:
        return ""
    by = f" by {halt.by}" if halt.by else ""
    return f"halted{by}: {halt.reason}" if halt.reason else f"halted{by}"


class HaltMemory:
    """The newest record seen, kept in a file if there is one.

    A file that is there but cannot be read counts as halted until a record is found in Redis: a
    switch that was thrown must not be lifted by a damaged disk.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._saved = True
        self._failing = False
        self.current = NEVER_SET if file is None else _remembered(file)

    def learn(self, raw: bytes | None, now_ms: int) -> bool:
        """Take over what stands in Redis (None: nothing) if it is newer; whether it was."""
        found = None if raw is None else decode(raw, now_ms)
        changed = found is not None and outranks(found, self.current)
        if found is not None and changed:
            self.current, self._saved = found, False
        if not self._saved:
            self._save()
        return changed

    def restored(self, raw: bytes | None) -> bytes | None:
        """What to write into Redis in place of `raw`; None if that is the newest record."""
        if self.current.ts_ms == 0:
            return None
        known = _encode(self.current)
        if raw is None:
            return known
        try:
            found = _decoder.decode(raw)
        except msgspec.DecodeError:
            return known
        return known if outranks(self.current, found) else None

    def _save(self) -> None:
        if self._file is None:
            self._saved = True
            return
        try:
            _write(self._file, _encode(self.current))
        except OSError as error:
            if not self._failing:
                self._failing = True
                remedy = "free space or make the folder writable"
                _log.error(
                    "kill switch not remembered, a restart could forget it %s",
                    kv(file=self._file, error=error, remedy=remedy),
                )
            return
        self._saved, self._failing = True, False


def _remembered(file: Path) -> Halt:
    try:
        return _decoder.decode(file.read_bytes())
    except FileNotFoundError:
        return NEVER_SET
    except (OSError, msgspec.DecodeError) as error:
        _log.error(
            "remembered kill switch cannot be read, entries stay halted %s",
            kv(file=file, error=error, remedy="python3 scripts/kill_switch.py off"),
        )
        return Halt(halted=True, ts_ms=0, by="freqtrade", reason=f"{file.name} cannot be read")


def _write(file: Path, data: bytes) -> None:
    """Replace the file's content as one step that survives a power failure."""
    draft = file.with_suffix(".new")
    with draft.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
