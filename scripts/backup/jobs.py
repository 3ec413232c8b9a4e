"""A backup, and the test of one, with what the settings say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from scripts.backup import create, selftest
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Counts
from scripts.backup.place import Source
from scripts.backup.seal import Key
from scripts.stack.debian import Programs, find
from services.core.settings import BackupSettings

ONLY_HERE_EXIT = 3
"""Of a process whose backup is complete, but could not be handed on."""

Say = Callable[[str, str], None]


def back_up(
    source: Source,
    root: Path,
    into: Path,
    settings: BackupSettings,
    say: Say,
    *,
    key: Key | None,
    keep: int | None = None,
    lines: bool = False,
) -> Path:
    """Make a backup in the folder; return its path. Raises as `create.create`."""
    options = create.Options(
        lines=lines or settings.backup_lines,
        keep=settings.backup_keep if keep is None else keep,
        keep_days=settings.backup_keep_days,
        key=key,
        offsite_command=settings.backup_offsite_command,
        settings=tuple(path for path in (root / ".env", root / "secrets") if path.exists()),
    )
    folder, contents = create.create(source, into, lambda text: say("backup", text), options)
    size = sum(size for size, _ in contents.files.values())
    say("backup", f"{total(contents.counts)} values, {contents.redis_keys} keys, {size:,} bytes")
    return folder


def test(
    backup: Path | None, folder: Path, programs: Programs, say: Say, *, key: Key | None
) -> None:
    """Test a backup, the newest in the folder if None. Raises `BackupError`."""
    chosen = (backup or selftest.newest(folder)).absolute()
    selftest.test(chosen, folder, programs, key, lambda text: say("self-test", text))


def key_of(settings: BackupSettings) -> Key | None:
    """What the settings say encrypts. Raises `BackupError`."""
    return Key.of(settings.backup_key, "BACKUP_KEY") if settings.backup_key else None


def programs(root: Path) -> Programs:
    """The servers a restore starts. Raises `BackupError`."""
    found = find(root / ".local")
    if found is None:
        raise BackupError(
            "influxd and redis-server are neither in PATH nor in .local. Install them: "
            "apt-get install influxdb redis-server"
        )
    return found


def influxd(root: Path) -> str:
    """The program that speaks InfluxDB's backup protocol. Raises `BackupError`."""
    return shutil.which("influxd") or programs(root).influxd


def total(counts: Counts) -> str:
    """All values, for people."""
    return f"{sum(number for fields in counts.values() for number in fields.values()):,}"
