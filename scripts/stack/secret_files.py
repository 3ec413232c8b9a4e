"""Secrets as files in `secrets/`: the stack's own are made on the first start, once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

NAMES = (
    "redis_password",
    "influx_password",
    "freqtrade_api_password",
    "freqtrade_jwt_secret",
    "page_password",
)
FOREIGN = (
    "freqtrade_exchange_key",
    "freqtrade_exchange_secret",
    "notify_urls",
    "deadman_url",
    "backup_key",
)
"""Given out by others; blank until the user fills them in, because Compose mounts them anyway."""


def ensure(folder: Path) -> list[str]:
    """Create the folder (mode 0700) and the files that are missing; return the new ones' names.

    Those of `FOREIGN` are made blank, and not among the names. The files are 0644, so that
    containers with other user ids can read those mounted into them; the folder keeps everyone else
    out. An existing file is never changed.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    created = []
    for name in NAMES:
        path = folder / name
        if path.exists() and path.stat().st_size:
            continue
        _write(path, _new())
        created.append(name)
    for name in FOREIGN:
        if not (folder / name).exists():
            _write(folder / name, "\n")  # Swarm refuses a secret of no bytes
    return created


def stage(folder: Path, name: str) -> str:
    """The value that is to follow the present one: a new one, or the one an interrupted rotation
    has left."""
    path = folder / f".{name}.next"
    if not (path.exists() and path.stat().st_size):
        _write(path, _new())
    return path.read_text(encoding="utf-8").strip()


def put_in_place(folder: Path, name: str) -> None:
    """Replace the present value by the staged one, for good.

    It is written into the same file, because a running container has that one mounted and its
    health check would not see another.
    """
    staged = folder / f".{name}.next"
    with (folder / name).open("r+b") as file:
        file.write(staged.read_bytes())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    staged.unlink()


def _new() -> str:
    # A letter in front: a value of digits only would be taken for a number by some readers.
    return f"k{secrets.token_hex(24)}\n"


def _write(path: Path, text: str) -> None:
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)


def file_settings(folder: Path) -> dict[str, str]:
    """`REDIS_PASSWORD_FILE=...` and so on for every secret."""
    return {f"{name.upper()}_FILE": str(folder / name) for name in (*NAMES, *FOREIGN)}
