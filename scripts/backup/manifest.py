"""What a backup consists of, and whether all of it is there, unchanged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "manifest.json"
FORMAT = 1

Counts = dict[str, dict[str, int]]
"""`retention policy.measurement` -> field -> number of values."""


class BackupError(Exception):
    """A backup cannot be made or restored; the text names cause and remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Contents of a backup.

    `created`: UTC, ISO 8601; `counts`: of points older than that; `redis_keys`: at that time;
    `files`: path inside the backup -> [size in bytes, SHA-256].
    """

    format: int
    created: str
    database: str
    counts: Counts
    redis_keys: int
    files: dict[str, tuple[int, str]]


def write(
    folder: Path, *, created: str, database: str, counts: Counts, redis_keys: int
) -> Manifest:
    """Checksum every file in `folder` and write the manifest beside them."""
    files = {
        path.relative_to(folder).as_posix(): (path.stat().st_size, _digest(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }
    manifest = Manifest(FORMAT, created, database, counts, redis_keys, files)
    (folder / NAME).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    return manifest


def verify(folder: Path) -> Manifest:
    """Read the manifest and check every file. Raises `BackupError` naming each that is wrong."""
    path = folder / NAME
    if not path.is_file():
        raise BackupError(
            f"{folder} is not a complete backup: {NAME} is missing. Give the folder that "
            "./scripts/backup_volumes.sh printed."
        )
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BackupError(f"{path} is damaged: {error}. Restore another backup.") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{path} has format {manifest.format}, known is {FORMAT}. Restore it with the release "
            "that made it."
        )
    problems = [
        f"{name}: {problem}"
        for name, (size, digest) in manifest.files.items()
        if (problem := _problem(folder, name, size, digest))
    ]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise BackupError(
            f"{folder} is damaged; nothing was restored. Restore another backup.\n{listed}"
        )
    return manifest


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
