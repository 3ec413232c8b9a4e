"""What a backup consists of, and whether all of it is there, unchanged."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from scripts.backup.errors import BackupError
from scripts.backup.seal import Key

NAME = "manifest.json"
SIGNATURE = "manifest.hmac"
FORMAT = 2

Counts = dict[str, dict[str, int]]
"""`retention policy.measurement` -> field -> number of values."""

Days = dict[str, dict[str, dict[str, tuple[int, float | None]]]]
"""`retention policy.measurement` -> day, UTC -> field -> number of values and their sum, which
only numbers have."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A retention policy; durations as InfluxDB writes them, such as 24h0m0s."""

    name: str
    duration: str
    shard: str
    default: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """Contents of a backup.

    `created`: UTC, ISO 8601; `counts`: of points older than that; `days`: the same by day, without
    the days that changed while the backup was made; `redis_keys`: those that never expire, at that
    time; `encrypted`: each file but the manifest; `files`: path -> [size in bytes, SHA-256].
    """

    format: int
    created: str
    database: str
    counts: Counts
    redis_keys: int
    encrypted: bool = False
    days: Days = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


def write(folder: Path, contents: Manifest, key: Key | None) -> Manifest:
    """Checksum every file in `folder`, write the manifest beside them, and sign it if there is a
    key; return it with the files."""
    files = {
        name: ((folder / name).stat().st_size, _digest(folder / name))
        for name in sorted(_names(folder))
    }
    whole = replace(contents, files=files)
    text = json.dumps(asdict(whole), indent=1) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")
    if key:
        (folder / SIGNATURE).write_text(key.sign(text.encode()) + "\n", encoding="ascii")
    return whole


def verify(folder: Path, key: Key | None = None) -> Manifest:
    """Read the manifest and check every file. Raises `BackupError` naming each that is wrong."""
    path = folder / NAME
    if not path.is_file():
        raise BackupError(
            f"{folder} is not a complete backup: {NAME} is missing. Give the folder that "
            "./scripts/backup_volumes.sh printed."
        )
    manifest = _read(path)
    if manifest.encrypted:
        _check_signature(folder, key)
    problems = [
        f"{name}: {problem}"
        for name, (size, digest) in manifest.files.items()
        if (problem := _problem(folder, name, size, digest))
    ]
    problems += [f"{name}: does not belong to it" for name in _names(folder) - {*manifest.files}]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise BackupError(
            f"{folder} is damaged; nothing was restored. Restore another backup.\n{listed}"
        )
    return manifest


def _names(folder: Path) -> set[str]:
    """Files below the folder, except the manifest and its signature."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {*found} - {NAME, SIGNATURE}


def _read(path: Path) -> Manifest:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        known = document["format"]
        if known == FORMAT:
            return msgspec.convert(document, Manifest)
    except (ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{path} is damaged: {error}. Restore another backup.") from error
    raise BackupError(
        f"{path} has format {known}, known is {FORMAT}. Restore it with the release that made it."
    )


def _check_signature(folder: Path, key: Key | None) -> None:
    if key is None:
        raise BackupError(
            f"{folder} is encrypted. Put its key into secrets/backup_key, or name a file: "
            "--key-file FILE"
        )
    try:
        given = (folder / SIGNATURE).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise BackupError(f"{folder}: {SIGNATURE} cannot be read: {error}") from error
    if not hmac.compare_digest(given, key.sign((folder / NAME).read_bytes())):
        raise BackupError(
            f"{folder} was not made with this key, or its manifest has been changed; nothing was "
            "restored. Give the right key file, or restore another backup."
        )


def _problem(folder: Path, name: str, size: int, digest: str) -> str:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return "lies outside the backup"
    if not path.is_file():
        return "missing"
    if path.stat().st_size != size:
        return f"{path.stat().st_size} bytes instead of {size}"
    return "" if _digest(path) == digest else "contents have changed"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
