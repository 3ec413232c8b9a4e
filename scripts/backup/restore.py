"""Restoring a backup into a stack that does not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from scripts.backup import influx, manifest, redis_files
from scripts.backup.manifest import BackupError, Manifest
from scripts.backup.place import Target

SETTLE_S = 30.0
END_OF_TIME = "2262-01-01T00:00:00Z"

Say = Callable[[str], None]


def restore(backup: Path, target: Target, say: Say, *, replace: bool = False) -> Manifest:
    """Restore everything and compare the counts; return what the backup said it contains.

    Nothing is touched before the backup is verified and the target found empty (or `replace`
    given). Raises `BackupError`.
    """
    say("verifying checksums")
    contents = manifest.verify(backup)
    redis_files.check_dump(backup / "redis" / "dump.rdb")
    target.open()
    try:
        _make_room(target, contents.database, replace, say)
        say("freqtrade: unpacking")
        target.put_freqtrade(backup / "freqtrade" / "user_data.tar")
        say("Redis: loading the dump")
        target.put_redis(backup / "redis" / "dump.rdb")
        if contents.counts:
            say("InfluxDB: restoring")
            if contents.database in influx.databases(target.influx):
                # Its schema without points; influxd restores only databases that do not exist.
                target.influx(f'DROP DATABASE "{contents.database}"')
            target.put_influx(backup / "influxdb", contents.database)
        say("InfluxDB: counting")
        _compare(target, contents)
    finally:
        target.close()
    return contents


def _make_room(target: Target, database: str, replace: bool, say: Say) -> None:
    found = _present(target, database)
    if found and not replace:
        listed = ", ".join(found)
        raise BackupError(
            f"{target.title} is not empty: {listed}. Nothing was restored. Restore into a scratch "
            "stack with --into scratch, or throw that data away with --replace."
        )
    if found:
        say(f"throwing away {', '.join(found)}")
        target.clear()


def _present(target: Target, database: str) -> list[str]:
    found = []
    if keys := int(target.redis("DBSIZE")):
        found.append(f"{keys} keys in Redis")
    if counts := influx.counts(target.influx, database, END_OF_TIME):
        found.append(f"{len(counts)} measurements in InfluxDB")
    return found + [f"freqtrade's {name}" for name in target.freqtrade_databases()]


def _compare(target: Target, contents: Manifest) -> None:
    if missing := _missing(target, contents):
        listed = "\n".join(f"  {line}" for line in missing)
        raise BackupError(
            "InfluxDB holds less than when the backup was made; do not trust this restore, try "
            f"another backup:\n{listed}"
        )
    # Keys that live for seconds only have ended since.
    if contents.redis_keys and not int(target.redis("DBSIZE")):
        raise BackupError("Redis is empty after the restore although the dump has keys.")


def _missing(target: Target, contents: Manifest) -> list[str]:
    """What is not there, once InfluxDB has had the time to open the restored files."""
    deadline = monotonic() + SETTLE_S
    while True:
        try:
            after = influx.counts(target.influx, contents.database, contents.created)
            missing = influx.fewer(contents.counts, after)
        except BackupError as error:
            missing = [str(error)]
        if not missing or monotonic() > deadline:
            return missing
        sleep(0.5)
