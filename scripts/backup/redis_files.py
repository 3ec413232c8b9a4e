"""Redis' files: writing and checking a dump, and making Redis load one at its start."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from scripts.backup.errors import BackupError

SAVE_TIMEOUT_S = 600.0
POLL_S = 0.1
END_OF_FILE = 0xFF
CHECKSUM_BYTES = 8

# With append-only files switched on, Redis ignores a dump.rdb; it loads what this file lists.
AOF_MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\n"

_KEYSPACE = re.compile(r"keys\W+(\d+)\W+expires\W+(\d+)")

Command = Callable[..., str]


def save(redis: Command) -> None:
    """Make Redis write its dump and wait until that is done. Raises `BackupError`."""
    deadline = monotonic() + SAVE_TIMEOUT_S
    _wait(redis, deadline)
    redis("BGSAVE")
    info = _wait(redis, deadline)
    if info.get("rdb_last_bgsave_status") != "ok":
        raise BackupError(
            "Redis could not write its dump (rdb_last_bgsave_status is "
            f"{info.get('rdb_last_bgsave_status')}). Its log says why: often memory "
            "(vm.overcommit_memory) or a full disk."
        )


def lasting_keys(redis: Command) -> int:
    """Keys that never expire. Raises `BackupError`."""
    found = _KEYSPACE.findall(redis("INFO", "keyspace"))
    return sum(int(keys) - int(expiring) for keys, expiring in found)


def check_dump(path: Path) -> None:
    """Raises `BackupError` unless the file is a whole dump."""
    with path.open("rb") as file:
        head = file.read(9)
        size = file.seek(0, 2)
        file.seek(max(size - CHECKSUM_BYTES - 1, 0))
        end = file.read(1)
    if not head.startswith(b"REDIS") or size < 18 or end[0] != END_OF_FILE:
        raise BackupError(f"{path} is not a whole Redis dump ({size} bytes). Make a new backup.")


def place_dump(dump: Path, folder: Path) -> None:
    """Put a dump into Redis' data folder such that Redis loads it at its next start."""
    appendonly = folder / "appendonlydir"
    shutil.rmtree(appendonly, ignore_errors=True)
    appendonly.mkdir(parents=True)
    shutil.copyfile(dump, appendonly / "appendonly.aof.1.base.rdb")
    (appendonly / "appendonly.aof.manifest").write_text(AOF_MANIFEST, encoding="ascii")


def _wait(redis: Command, deadline: float) -> dict[str, str]:
    while True:
        lines = redis("INFO", "persistence").splitlines()
        info = dict(line.strip().split(":", 1) for line in lines if ":" in line)
        if info.get("rdb_bgsave_in_progress") == "0":
            return info
        if monotonic() > deadline:
            raise BackupError(f"Redis did not finish its dump within {SAVE_TIMEOUT_S:.0f} s.")
        sleep(POLL_S)
