"""Making a backup of the running stack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from scripts.backup import influx, manifest, redis_files
from scripts.backup.manifest import BackupError, Manifest
from scripts.backup.place import Source

PREFIX = "squeezeflow-"
UNFINISHED = ".unfinished-"

Say = Callable[[str], None]


def create(
    source: Source, folder: Path, say: Say, *, now: datetime | None = None
) -> tuple[Path, Manifest]:
    """Back everything up into a new folder below `folder`; return its path and contents.

    A folder under the final name is complete: it is renamed when all is written and checksummed.
    Raises `BackupError`; then nothing is left.
    """
    moment = now or datetime.now(UTC)
    final = folder / f"{PREFIX}{moment:%Y%m%dT%H%M%SZ}"
    if final.exists():
        raise BackupError(f"{final} exists already. Try again in a second.")
    unfinished = folder / f"{UNFINISHED}{final.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _discard_unfinished(folder)
        # The databases' contents and freqtrade's configuration concern the owner alone.
        unfinished.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(
            f"{folder} cannot be written: {error.strerror}. Give another folder: "
            "./scripts/backup_volumes.sh DIR"
        ) from error
    try:
        contents = _fill(source, unfinished, moment, say)
        _sync(unfinished)
        unfinished.rename(final)
    except OSError as error:
        raise BackupError(
            f"The backup could not be written: {error}. Make room in {folder}, or give another "
            "folder: ./scripts/backup_volumes.sh DIR"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return final, contents


def _fill(source: Source, folder: Path, moment: datetime, say: Say) -> Manifest:
    created = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    say("Redis: writing and copying the dump")
    redis_files.save(source.redis)
    keys = int(source.redis("DBSIZE"))
    (folder / "redis").mkdir()
    source.fetch_dump(folder / "redis" / "dump.rdb")
    redis_files.check_dump(folder / "redis" / "dump.rdb")
    say("freqtrade: copying databases and configuration")
    (folder / "freqtrade").mkdir()
    source.fetch_freqtrade(folder / "freqtrade" / "user_data.tar")
    shutil.copyfile(source.config, folder / "freqtrade" / "config.json")
    say("InfluxDB: counting")
    counts = influx.counts(source.influx, source.database, created)
    say("InfluxDB: copying")
    source.fetch_influx(folder / "influxdb")
    say("checksums")
    return manifest.write(
        folder, created=created, database=source.database, counts=counts, redis_keys=keys
    )


def _discard_unfinished(folder: Path) -> None:
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    """A power cut after the renaming must not leave empty files under the final name."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
