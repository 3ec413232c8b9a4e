"""Making a backup of the running stack."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts.backup import influx, lines, manifest, offsite, redis_files, shelf
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Manifest
from scripts.backup.place import Source
from scripts.backup.seal import Key

# Line protocol, compressed, against InfluxDB's own files.
LINES_FACTOR = 4

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`lines`: InfluxDB as line protocol too; `keep`, `keep_days`: see `shelf.prune`; `settings`:
    files and folders with settings and secrets, saved only if they are encrypted."""

    lines: bool = False
    keep: int = 0
    keep_days: int = 0
    key: Key | None = None
    offsite_command: str = ""
    settings: tuple[Path, ...] = ()


def create(
    source: Source,
    folder: Path,
    say: Say,
    options: Options | None = None,
    *,
    now: datetime | None = None,
) -> tuple[Path, Manifest]:
    """Back everything up into a new folder below `folder`; return its path and contents.

    A folder under the final name is complete: it is renamed when all is written and checksummed.
    Raises `BackupError`, then nothing is left; `OffsiteError`: then it is complete, but only here.
    """
    chosen = options or Options()
    moment = now or datetime.now(UTC)
    final = folder / shelf.name(moment)
    unfinished = folder / f"{shelf.UNFINISHED}{final.name}"
    with shelf.reserved(folder):
        if final.exists():
            raise BackupError(f"{final} exists already. Try again in a second.")
        shelf.require_room(folder, estimate(source, chosen))
        try:
            # The databases' contents and freqtrade's configuration concern the owner alone.
            unfinished.mkdir(mode=0o700)
            contents = _fill(source, unfinished, moment, say, chosen)
            _sync(unfinished)
            unfinished.rename(final)
            _sync_one(folder)
            for path in shelf.prune(folder, chosen.keep, chosen.keep_days, moment):
                say(f"removed {path.name}")
        except OSError as error:
            raise BackupError(
                f"The backup could not be written: {error}. Make room in {folder}, or give another "
                "folder: ./scripts/backup_volumes.sh DIR"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        if chosen.offsite_command:
            say("handing it to BACKUP_OFFSITE_COMMAND")
            offsite.send(chosen.offsite_command, final)
    return final, contents


def estimate(source: Source, options: Options) -> int:
    """Bytes the backup will take at most, as far as the size of the data tells."""
    stored = influx.stored_bytes(source.influx, source.database)
    info = source.redis("INFO", "memory").splitlines()
    memory = dict(line.split(":", 1) for line in info if ":" in line)
    whole = stored * (1 + LINES_FACTOR * options.lines) + int(memory["used_memory"])
    # While files are encrypted, the largest is there twice.
    return whole * 2 if options.key else whole


def _fill(source: Source, folder: Path, moment: datetime, say: Say, options: Options) -> Manifest:
    created = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    say("Redis: copying the dump")
    keys = redis_files.lasting_keys(source.redis)
    _fetch_redis(source, folder / "redis")
    say("freqtrade: copying databases and configuration")
    (folder / "freqtrade").mkdir()
    source.fetch_freqtrade(folder / "freqtrade" / "user_data.tar.gz")
    shutil.copyfile(source.config, folder / "freqtrade" / "config.json")
    say("collector: copying what InfluxDB has not got yet")
    (folder / "collector").mkdir()
    source.fetch_collector(folder / "collector" / "data.tar.gz")
    say("InfluxDB: counting")
    policies = influx.policies(source.influx, source.database)
    before = influx.days(source.influx, source.database, created)
    say("InfluxDB: copying")
    source.fetch_influx(folder / "influxdb")
    if options.lines:
        say("InfluxDB: writing line protocol")
        (folder / "lines").mkdir()
        lines.export(source.influx_ns, source.database, policies, created, folder / "lines")
    say("InfluxDB: counting again")
    after = influx.days(source.influx, source.database, created)
    if options.key:
        say("encrypting")
        _copy_settings(options.settings, folder / "settings")
        options.key.encrypt(folder)
    elif options.settings:
        say("settings and secrets are left out, since nothing encrypts them (secrets/backup_key)")
    say("checksums")
    return manifest.write(
        folder,
        Manifest(
            format=manifest.FORMAT,
            created=created,
            database=source.database,
            counts=_fewest(influx.totals(before), influx.totals(after)),
            redis_keys=keys,
            encrypted=bool(options.key),
            days=influx.settled(before, after),
            policies=policies,
        ),
        options.key,
    )


def _fetch_redis(source: Source, folder: Path) -> None:
    folder.mkdir()
    dump = folder / "dump.rdb"
    source.fetch_dump(dump)
    redis_files.check_dump(dump)
    with dump.open("rb") as plain, gzip.open(folder / "dump.rdb.gz", "wb", 6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)
    dump.unlink()


def _fewest(one: manifest.Counts, other: manifest.Counts) -> manifest.Counts:
    """What was there all the time: the oldest points may go while the backup is made."""
    return {
        measurement: {
            name: min(number, other.get(measurement, {}).get(name, 0))
            for name, number in fields.items()
        }
        for measurement, fields in one.items()
    }


def _copy_settings(paths: tuple[Path, ...], target: Path) -> None:
    for path in paths:
        target.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.exists():
            shutil.copyfile(path, target / path.name)


def _sync(folder: Path) -> None:
    """A power cut after the renaming must not leave empty files under the final name."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
