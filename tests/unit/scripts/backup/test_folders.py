"""What is thrown away before freqtrade's and the collector's folders are restored."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

from scripts.backup import collector, freqtrade


def _crashed(folder: Path, trades: int) -> None:
    """A database whose rows are in the write-ahead log only, left as a crash leaves it."""
    open_one = sqlite3.connect(folder / "in_use.sqlite")
    open_one.execute("PRAGMA journal_mode=WAL")
    open_one.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY)")
    open_one.executemany("INSERT INTO trades VALUES (?)", [(n,) for n in range(trades)])
    open_one.commit()
    for ending in ("", "-wal"):
        copy = folder / f"tradesv3.sqlite{ending}"
        copy.write_bytes((folder / f"in_use.sqlite{ending}").read_bytes())
    open_one.close()
    (folder / "in_use.sqlite").unlink()


def _trades(folder: Path) -> int:
    with sqlite3.connect(folder / "tradesv3.sqlite") as database:
        [number] = database.execute("SELECT count(*) FROM trades").fetchone()
    database.close()
    return int(number)


def test_the_log_of_a_database_that_crashed_is_not_applied_to_the_one_that_follows(
    tmp_path: Path,
) -> None:
    saved, folder = tmp_path / "saved", tmp_path / "folder"
    for place, trades in ((saved, 2), (folder, 5)):
        place.mkdir()
        _crashed(place, trades)
    archive = io.BytesIO()
    freqtrade.pack(saved, archive)
    archive.seek(0)
    (folder / "notes.json").write_text("{}")

    freqtrade.clear(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.json"]
    freqtrade.unpack(archive, folder)

    assert _trades(folder) == 2


def _collectors(folder: Path) -> list[Path]:
    """Folders of two collectors that share the markets."""
    first, second = folder / "1", folder / "2"
    for place, text in ((first / "spool", "a"), (second / "shard-2" / "spool", "b")):
        place.mkdir(parents=True)
        (place / "000001.log").write_text(text)
    return [first, second]


def test_collectors_that_share_the_markets_fit_into_one_archive_and_each_gets_its_own_back(
    tmp_path: Path,
) -> None:
    archive = io.BytesIO()
    collector.pack(archive, _collectors(tmp_path / "saved"))
    found = {}
    for part in (0, 1, 2):
        archive.seek(0)
        collector.unpack(archive, tmp_path / str(part), part)
        files = (tmp_path / str(part)).rglob("*.log")
        found[part] = {
            str(path.relative_to(tmp_path / str(part))): path.read_text() for path in files
        }
    one, two = {"spool/000001.log": "a"}, {"shard-2/spool/000001.log": "b"}
    assert found == {0: one | two, 1: one, 2: two}


def test_of_the_collectors_folder_nothing_stays_but_itself(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "000001.log").write_text("a bar")
    (tmp_path / "state.json").write_text("{}")

    collector.clear(tmp_path)
    collector.clear(tmp_path / "missing")

    assert list(tmp_path.iterdir()) == []
