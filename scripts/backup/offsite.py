"""Handing a complete backup to a command that takes it to another place."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from scripts.backup.errors import BackupError

TIMEOUT_S = 6 * 3600


class OffsiteError(BackupError):
    """The backup is complete, but only at `backup`."""

    def __init__(self, problem: str, backup: Path) -> None:
        super().__init__(f"{problem}. The backup is complete, but only in {backup}.")
        self.backup = backup


def send(command: str, backup: Path) -> None:
    """Run the command with the backup's path as its last argument. Raises `OffsiteError`."""
    try:
        words = shlex.split(command)
        done = subprocess.run(
            [*words, str(backup)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except ValueError as error:
        raise OffsiteError(f"BACKUP_OFFSITE_COMMAND is not a command: {error}", backup) from error
    except subprocess.TimeoutExpired as error:
        raise OffsiteError(f"BACKUP_OFFSITE_COMMAND took over {TIMEOUT_S} s", backup) from error
    except OSError as error:
        raise OffsiteError(
            f"BACKUP_OFFSITE_COMMAND cannot be run: {error.strerror}: {words[0]}", backup
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise OffsiteError(
            f"BACKUP_OFFSITE_COMMAND ended with status {done.returncode}: {said}", backup
        )
