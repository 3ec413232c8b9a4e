"""What is examined: a clone of the project, its settings, and how its stack runs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.stack import dotenv, secret_files
from scripts.stack.running import StackError

PACKAGES = ("msgspec", "psutil", "redis", "aiohttp", "supervisor", "influxdb")
COMMAND_TIMEOUT_S = 6.0
INSTALL = "./scripts/up.sh installs it, or ./scripts/doctor.sh --install, which starts nothing"


@dataclass(frozen=True, slots=True)
class Site:
    """A clone at `root`.

    `written`: what `.env` says, empty if it cannot be read. `packages`: whether the project's own
    Python packages are there; without them less can be known. `offline`: ask nothing outside.
    """

    root: Path
    written: Mapping[str, str] = field(default_factory=dict)
    packages: bool = True
    offline: bool = False

    @property
    def local(self) -> Path:
        """What is installed or generated."""
        return self.root / ".local"

    @property
    def environ(self) -> dict[str, str]:
        """Settings as the stack would be given them; secrets as files."""
        given = {name: value for name, value in os.environ.items() if value}
        files = secret_files.file_settings(self.root / "secrets")
        # Unlike that of Path, this one takes a folder of somebody else's for an empty one.
        known = {name: path for name, path in files.items() if os.path.isfile(path)}
        return {**known, **self.written, **given}

    def setting(self, name: str, default: str = "") -> str:
        """A setting as text."""
        return self.environ.get(name) or default

    def state(self) -> dict[str, Any] | None:
        """What `up.sh` left about a stack of local processes; None if there is none."""
        try:
            text = (self.local / "run" / "stack.json").read_text(encoding="utf-8")
            found: dict[str, Any] = json.loads(text)
        except (OSError, ValueError):
            return None
        return found

    @property
    def data(self) -> Path:
        """Folder of the data that local processes keep, real or of the running demo."""
        state = self.state()
        return self.local / ("demo" if state and state.get("demo") else "live")


def examine(root: Path, *, offline: bool = False) -> Site:
    """The site at `root`, whatever state it is in."""
    try:
        written = dotenv.read(root / ".env")
    except (StackError, OSError, UnicodeDecodeError):
        written = {}  # told by the check of the file itself
    packages = all(importlib.util.find_spec(name) for name in PACKAGES)
    return Site(root, written, packages, offline)


def output(*command: str, timeout_s: float = COMMAND_TIMEOUT_S, folder: Path | None = None) -> str:
    """What a program writes. Raises `OSError` if it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} does not answer within {timeout_s:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise OSError(said or f"{command[0]} ended with status {done.returncode}")
    return done.stdout
