"""The folder of the backups, for the container that writes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.stack.running import StackError

USER = 10001
"""Of the container: the collector's, whose spool nobody else can read."""


def hand_over(config: Mapping[str, Any]) -> None:
    """Give it to that user, if the backup is among the services. Raises `StackError`."""
    for mount in config.get("services", {}).get("backup", {}).get("volumes", ()):
        if mount["target"] == "/backups":
            _hand_over(Path(mount["source"]))


def _hand_over(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner != USER and os.geteuid() == 0:
            os.chown(folder, USER, USER)
            owner = USER
    except OSError as error:
        raise StackError(
            f"The folder of the backups, {folder}, cannot be prepared: {error.strerror}. Create "
            "it, or set BACKUP_DIR in .env to a folder of yours."
        ) from error
    if owner != USER:
        raise StackError(
            f"The backup service cannot write into {folder}, which belongs to user {owner}. Run: "
            f"sudo chown {USER} {folder}"
        )
