"""The project in a folder of its own, as a user has it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LENT = ("venv", "freqtrade", "debian")


def clone_into(folder: Path) -> Path:
    """The project's own files, with the installed environment lent to it; returns `folder`."""
    copy_sources(folder)
    lend_environment(folder)
    return folder


def copy_sources(folder: Path) -> None:
    """Put the project's own files, as they are now, into `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def lend_environment(folder: Path) -> None:
    """Make what is installed here be found in `folder`, where nothing is installed."""
    (folder / ".local").mkdir(parents=True)
    for name in LENT:
        if (ROOT / ".local" / name).exists():
            (folder / ".local" / name).symlink_to(ROOT / ".local" / name)
