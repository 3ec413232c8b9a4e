"""From what the running stack was started: so that newer sources and settings are not taken for it.

Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

SOURCES = {
    "aggr-server": (".py", ".txt", "Dockerfile"),
    "services": (".py", ".toml", ".js", ".css", ".html"),
    "scripts": (".py", ".sh"),
    "freqtrade/config": (".json",),
    "freqtrade/user_data/strategies": (".py",),
    "docker": (".sh", ".conf", ".cfg"),
}
"""Folder -> endings of what is run, or decides how it is run."""
ALONE = (
    ".env",
    "docker-compose*.yml",
    "docker/Dockerfile.*",
    "requirements*.txt",
    "freqtrade/*.py",
    "freqtrade/*.txt",
)


def fingerprint(root: Path) -> str:
    """Of the sources and settings that are there now."""
    digest = hashlib.sha256()
    for path in sorted(set(_files(root))):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def remember(root: Path) -> None:
    """What is there now is what runs."""
    _mark(root).write_text(f"{fingerprint(root)}\n", encoding="ascii")


def outdated(root: Path) -> bool:
    """Whether sources or settings have changed since the start; False if that is not known."""
    try:
        known = _mark(root).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return known != fingerprint(root)


def _mark(root: Path) -> Path:
    return root / ".local" / "started"


def _files(root: Path) -> Iterator[Path]:
    for folder, ends in SOURCES.items():
        yield from (p for p in (root / folder).rglob("*") if p.name.endswith(ends) and p.is_file())
    for pattern in ALONE:
        yield from (path for path in root.glob(pattern) if path.is_file())
