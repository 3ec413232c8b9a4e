"""Proving that a backup restores: into scratch servers, compared with its manifest."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import msgspec

from scripts.backup import shelf
from scripts.backup.create import Say
from scripts.backup.errors import BackupError
from scripts.backup.native import NativeTarget
from scripts.backup.restore import Options, restore
from scripts.backup.seal import Key
from scripts.stack.debian import Programs

RESULT = "self-test.json"


@dataclass(frozen=True, slots=True)
class Result:
    """`at`: UTC, ISO 8601; `took_s`: how long the restore took, which is the shortest time to be
    back; `values`: how many were compared; `problem`: empty if everything was there."""

    backup: str
    at: str
    took_s: float
    values: int
    problem: str = ""


def newest(folder: Path) -> Path:
    """The newest complete backup. Raises `BackupError` if there is none."""
    found = shelf.complete(folder)
    if not found:
        raise BackupError(f"There is no backup in {folder}. Make one: ./scripts/backup_volumes.sh")
    return found[-1][1]


def test(backup: Path, folder: Path, programs: Programs, key: Key | None, say: Say) -> Result:
    """Restore beside the backups, keep the result there, and return it.

    Raises `BackupError` if the backup does not restore to what it says it holds.
    """
    with shelf.reserved(folder):
        size = sum(path.stat().st_size for path in backup.rglob("*") if path.is_file())
        shelf.require_room(folder, (3 if key else 2) * size)
        scratch = Path(tempfile.mkdtemp(prefix=shelf.SCRATCH, dir=folder))
        began, problem, values = monotonic(), "", 0
        try:
            target = NativeTarget(scratch / "data", scratch / "freqtrade", programs)
            contents = restore(backup, target, say, Options(key=key, scratch=scratch))
            values = sum(sum(fields.values()) for fields in contents.counts.values())
        except BackupError as error:
            problem = str(error)
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            result = Result(
                backup=backup.name,
                at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                took_s=round(monotonic() - began, 1),
                values=values,
                problem=problem,
            )
            _keep(folder, result)
    say(f"{backup.name} restores: {values:,} values, after {result.took_s:.0f} s")
    return result


def last(folder: Path) -> Result | None:
    """The last result, if there is one that can be read."""
    try:
        return msgspec.json.decode((folder / RESULT).read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError):
        return None


def _keep(folder: Path, result: Result) -> None:
    temporary = folder / f".{RESULT}"
    temporary.write_bytes(msgspec.json.encode(result) + b"\n")
    temporary.replace(folder / RESULT)
