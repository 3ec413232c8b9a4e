"""Restoring a backup into a stack that does not run."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

from scripts.backup import influx, lines, manifest, redis_files, seal
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Manifest
from scripts.backup.place import Target
from scripts.backup.seal import Key

SETTLE_S = 30.0
END_OF_TIME = "2262-01-01T00:00:00Z"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`replace`: throw away what is there; `lines`: InfluxDB from line protocol instead of its own
    format; `settings`: folder that settings and secrets go into as far as it lacks them; `scratch`:
    folder for what is decrypted meanwhile, the system's if left out; `processors`: how many may
    count at once what is there afterwards."""

    replace: bool = False
    lines: bool = False
    key: Key | None = None
    settings: Path | None = None
    scratch: Path | None = None
    processors: int = 1


def restore(backup: Path, target: Target, say: Say, options: Options | None = None) -> Manifest:
    """Restore everything and compare counts and sums; return what the backup said it contains.

    Nothing is touched before the backup is verified, and no data before the target is found empty
    (or its replacement asked for). Raises `BackupError`.
    """
    chosen = options or Options()
    say("verifying checksums")
    contents = manifest.verify(backup, chosen.key)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=chosen.scratch) as scratch:
        files = _prepare(backup, contents, chosen, Path(scratch))
        if chosen.settings:
            # They say where the data lies and what the servers are asked for.
            _put_settings(files.folder / "settings", chosen.settings, say)
        target.open()
        try:
            _make_room(target, contents.database, chosen.replace, say)
            _put(target, files, contents, chosen, say)
            say("InfluxDB: counting")
            _compare(target, contents, chosen.processors)
        finally:
            target.close()
    return contents


@dataclass(frozen=True, slots=True)
class _Files:
    """The backup's files, decrypted, and Redis' dump, uncompressed."""

    folder: Path
    dump: Path


def _prepare(backup: Path, contents: Manifest, options: Options, scratch: Path) -> _Files:
    """Find out whatever may be wrong with the files before anything is touched."""
    folder = seal.opened(backup, encrypted=contents.encrypted, key=options.key, scratch=scratch)
    if options.lines and not (folder / "lines").is_dir():
        raise BackupError(
            f"{backup} has no line protocol. Restore InfluxDB's own format: leave out --lines."
        )
    if options.settings and not (folder / "settings").is_dir():
        raise BackupError(
            f"{backup} holds no settings and secrets: only an encrypted backup does. Leave out "
            "--settings."
        )
    dump = scratch / "dump.rdb"
    try:
        with gzip.open(folder / "redis" / "dump.rdb.gz") as packed, dump.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (OSError, EOFError) as error:
        raise BackupError(f"{backup}: Redis' dump cannot be unpacked: {error}") from error
    redis_files.check_dump(dump)
    return _Files(folder, dump)


def _put(target: Target, files: _Files, contents: Manifest, options: Options, say: Say) -> None:
    say("freqtrade: unpacking")
    target.put_freqtrade(files.folder / "freqtrade" / "user_data.tar.gz")
    say("collector: unpacking")
    target.put_collector(files.folder / "collector" / "data.tar.gz")
    say("Redis: loading the dump")
    target.put_redis(files.dump)
    if not contents.counts:
        return
    say("InfluxDB: restoring")
    if options.lines:
        _put_lines(target, files.folder / "lines", contents)
        return
    if contents.database in influx.databases(target.influx):
        # Its schema without points; influxd restores only databases that do not exist.
        target.influx(f'DROP DATABASE "{contents.database}"')
    target.put_influx(files.folder / "influxdb", contents.database)


def _put_lines(target: Target, folder: Path, contents: Manifest) -> None:
    target.login()
    before, after = lines.definitions(contents.database, contents.policies)
    target.influx(f'DROP DATABASE "{contents.database}"')
    for statement in before:
        target.influx(statement)
    for path in sorted(folder.glob(f"*{lines.SUFFIX}")):
        policy = lines.policy_of(path, contents.policies)
        target.put_lines(path, contents.database, policy)
    for statement in after:
        target.influx(statement)


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


def _compare(target: Target, contents: Manifest, processors: int) -> None:
    if missing := _wrong(target, contents, processors):
        listed = "\n".join(f"  {line}" for line in missing)
        raise BackupError(
            "InfluxDB does not hold what it held when the backup was made; do not trust this "
            f"restore, try another backup:\n{listed}"
        )
    # Others have ended since, and some of these may have been removed before the dump was made.
    if contents.redis_keys and not redis_files.lasting_keys(target.redis):
        raise BackupError("Redis is empty after the restore although the dump has keys.")


def _wrong(target: Target, contents: Manifest, processors: int) -> list[str]:
    """What is not as it was, once InfluxDB has had the time to open the restored files."""
    until = contents.created
    if target.recomputes:
        day = datetime.fromisoformat(contents.created) - timedelta(days=1)
        until = f"{day:%Y-%m-%d}"
    deadline = monotonic() + SETTLE_S
    while True:
        try:
            found = influx.days(
                target.influx, contents.database, contents.created, at_once=processors
            )
            wrong = influx.fewer(contents.counts, influx.totals(found))
            wrong += influx.different(contents.days, found, until)
        except BackupError as error:
            wrong = [str(error)]
        if not wrong or monotonic() > deadline:
            return wrong
        sleep(0.5)


def _put_settings(source: Path, target: Path, say: Say) -> None:
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(mode=0o700, exist_ok=True)
        elif (there := _contents(place)) and there != path.read_bytes():
            say(f"{place} is kept as it is; the backup has another one")
        elif not there:
            shutil.copyfile(path, place)
            # Containers with other user ids read secrets; their folder keeps everyone else out.
            place.chmod(0o600 if path.parent == source else 0o644)
            say(f"{place} is back")


def _contents(path: Path) -> bytes:
    """Empty too for a secret that nobody has filled in yet."""
    content = path.read_bytes() if path.exists() else b""
    return content if content.strip() else b""
