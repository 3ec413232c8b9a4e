"""The age of the newest backup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.backup.shelf import PREFIX, UNFINISHED
from services.monitor.measure.backup import Backups, newest_s, of_newest


def test_the_newest_complete_backup_counts(tmp_path: Path) -> None:
    for name in (
        f"{PREFIX}20261120T020000Z",
        f"{PREFIX}20261122T020000Z",
        f"{UNFINISHED}{PREFIX}20261123T020000Z",
        "squeezeflow-notes",
    ):
        (tmp_path / name).mkdir()
    assert newest_s(tmp_path) == datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()


def test_its_age_is_told_in_hours() -> None:
    made_s = datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()
    found = of_newest("/backups", made_s, made_s + 36 * 3600)
    assert {r.name: r.value for r in found} == {"backup_missing": 0.0, "backup_age_h": 36.0}
    assert all(r.subject == "/backups" for r in found)


async def test_without_any_there_is_no_age_but_the_way_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        (missing,) = await Backups(str(folder)).readings()
        assert (missing.name, missing.value) == ("backup_missing", 1.0)
        assert "backup_volumes.sh" in missing.remedy


async def test_a_file_in_place_of_the_folder_is_not_taken_for_no_backup(tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    with pytest.raises(Exception, match="Not a directory"):
        await Backups(str(tmp_path / "backups")).readings()
