"""Which backups are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.backup import shelf
from scripts.backup.errors import BackupError

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def _make(folder: Path, *ages_days: int) -> None:
    for age in ages_days:
        path = folder / shelf.name(NOW - timedelta(days=age))
        path.mkdir()
        (path / "manifest.json").write_text("{}")


def _ages(folder: Path) -> list[int]:
    return [(NOW - begun).days for begun, _ in shelf.complete(folder)]


@pytest.mark.parametrize(
    ("keep", "keep_days", "left"),
    [
        (0, 0, [40, 3, 2, 1]),
        (2, 0, [2, 1]),
        (1, 0, [1]),
        (10, 0, [40, 3, 2, 1]),
        (0, 30, [3, 2, 1]),
        (3, 2, [2, 1]),
    ],
)
def test_number_and_age_limit_what_is_kept(
    tmp_path: Path, keep: int, keep_days: int, left: list[int]
) -> None:
    _make(tmp_path, 40, 3, 2, 1)

    gone = shelf.prune(tmp_path, keep, keep_days, NOW)

    assert _ages(tmp_path) == left
    assert len(gone) == 4 - len(left)
    assert len(list(tmp_path.iterdir())) == len(left)


def test_the_newest_stays_however_old_it_is(tmp_path: Path) -> None:
    _make(tmp_path, 300, 200)

    shelf.prune(tmp_path, 1, 30, NOW)

    assert _ages(tmp_path) == [200]


def test_nothing_that_is_no_backup_is_ever_removed(tmp_path: Path) -> None:
    _make(tmp_path, 2, 1)
    (tmp_path / "squeezeflow-of-mine").mkdir()
    (tmp_path / "squeezeflow-20200101T000000Z").write_text("a file")

    shelf.prune(tmp_path, 1, 1, NOW)

    assert (tmp_path / "squeezeflow-of-mine").exists()
    assert (tmp_path / "squeezeflow-20200101T000000Z").exists()
    assert _ages(tmp_path) == [1]


def test_half_a_backup_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / f"{shelf.UNFINISHED}{shelf.name(NOW)}").mkdir()

    assert shelf.complete(tmp_path) == []
    with shelf.reserved(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(BackupError, match=r"cannot be written: .* Give another folder"),
        shelf.reserved(tmp_path / "file"),
    ):
        pass


def test_a_folder_that_is_not_there_holds_no_backup(tmp_path: Path) -> None:
    assert shelf.complete(tmp_path / "nowhere") == []
