"""How old the newest backup is. One that has its final name is complete."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from services.monitor.measure.board import InThread, Unreadable
from services.monitor.readings import Reading

EVERY_S = 300.0
MAKE = "make one: ./scripts/backup_volumes.sh"

_NAME = re.compile(r"^squeezeflow-(\d{8}T\d{6}Z)$")


class Backups:
    """Looks into `folder`, where `scripts/backup_volumes.sh` puts them."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).absolute()
        self._newest = InThread(lambda: newest_s(self._folder))

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable` if the folder is there but may not be read."""
        try:
            made_s = await self._newest()
        except OSError as error:
            raise Unreadable(f"{self._folder}: {error.strerror}") from error
        return of_newest(str(self._folder), made_s, time.time())


def newest_s(folder: Path) -> float | None:
    """When the newest complete backup was begun, UTC seconds; None if there is none.

    Raises OSError, but not for a folder that does not exist.
    """
    try:
        found = [match[1] for path in folder.iterdir() if (match := _NAME.match(path.name))]
    except FileNotFoundError:
        return None
    if not found:
        return None
    return datetime.strptime(max(found), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def of_newest(folder: str, made_s: float | None, now_s: float) -> list[Reading]:
    """Its age; or that there is none."""
    if made_s is None:
        detail = f"no backup in {folder}"
        return [
            Reading(name="backup_missing", subject=folder, value=1.0, detail=detail, remedy=MAKE)
        ]
    return [
        Reading(name="backup_missing", subject=folder, value=0.0),
        Reading(
            name="backup_age_h",
            subject=folder,
            value=max(0.0, now_s - made_s) / 3600,
            detail=f"begun {datetime.fromtimestamp(made_s, UTC):%Y-%m-%d %H:%M} UTC",
        ),
    ]
