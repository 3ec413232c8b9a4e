"""The stack's own passwords: files in `secrets/`, made once, on the first start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

NAMES = ("redis_password", "influx_password", "freqtrade_api_password", "freqtrade_jwt_secret")


def ensure(folder: Path) -> list[str]:
    """Create the folder (mode 0700) and the files that are missing; return the new ones' names.

    The files are 0644, so that containers with other user ids can read those mounted into them;
    the folder keeps everyone else out. An existing file is never changed.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    created = []
    for name in NAMES:
        path = folder / name
        if path.exists() and path.stat().st_size:
            continue
        temporary = folder / f".{name}.{os.getpid()}"
        # A letter in front: a value of digits only would be taken for a number by some readers.
        temporary.write_text(f"k{secrets.token_hex(24)}\n", encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
        created.append(name)
    return created


def file_settings(folder: Path) -> dict[str, str]:
    """`REDIS_PASSWORD_FILE=...` and so on for every secret."""
    return {f"{name.upper()}_FILE": str(folder / name) for name in NAMES}
