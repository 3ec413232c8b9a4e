"""The folder the backups lie in: names, room, one at a time, and which are kept."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scripts.backup.errors import BackupError

PREFIX = "squeezeflow-"
UNFINISHED = ".unfinished-"
SCRATCH = ".scratch-"
SPARE_BYTES = 64 << 20

_NAME = re.compile(rf"^{PREFIX}(\d{{8}}T\d{{6}}Z)$")


def name(moment: datetime) -> str:
    """The final name of a backup that is begun at a moment, UTC."""
    return f"{PREFIX}{moment:%Y%m%dT%H%M%SZ}"


def complete(folder: Path) -> list[tuple[datetime, Path]]:
    """When each complete backup was begun, and where it lies, oldest first. Raises OSError."""
    if not folder.exists():
        return []
    found = [
        (datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), path)
        for path in folder.iterdir()
        if (match := _NAME.match(path.name)) and path.is_dir()
    ]
    return sorted(found)


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make the folder, keep others from it meanwhile, and remove what a killed backup has left.

    Raises `BackupError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        if not os.access(folder, os.W_OK):
            os.close(descriptor)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BackupError(
            f"{folder} cannot be written: {error.strerror}. Give another folder: "
            "./scripts/backup_volumes.sh DIR"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupError(
                f"A backup into {folder}, or the test of one, is under way. Wait for its end."
            ) from error
        for path in [*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"{SCRATCH}*")]:
            shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def require_room(folder: Path, needed_bytes: int) -> None:
    """Raises `BackupError` unless so much, and something to spare, is free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + SPARE_BYTES:
        raise BackupError(
            f"{folder} has {free:,} bytes free; the backup takes about {needed_bytes:,} and "
            f"{SPARE_BYTES:,} are to stay free. Nothing was written. Make room, keep fewer "
            "backups (BACKUP_KEEP), or give another folder: ./scripts/backup_volumes.sh DIR"
        )


def prune(folder: Path, keep: int, keep_days: int, now: datetime) -> list[Path]:
    """Remove all but the newest `keep` backups, and of these what is older than `keep_days`.

    0 means no limit. The newest one always stays. Returns what is gone.
    """
    found = complete(folder)
    oldest = now - timedelta(days=keep_days)
    gone = [
        path
        for rank, (begun, path) in enumerate(reversed(found))
        if rank and ((keep and rank >= keep) or (keep_days and begun < oldest))
    ]
    for path in gone:
        # Half a backup must not stand under a final name, however this ends.
        doomed = path.rename(folder / f"{UNFINISHED}{path.name}")
        shutil.rmtree(doomed, ignore_errors=True)
    return gone
