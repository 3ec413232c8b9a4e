from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scripts.uninstall import positions


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """As freqtrade holds it: open, its last changes still in the write-ahead log."""
    with closing(sqlite3.connect(tmp_path / positions.DATABASE)) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, pair TEXT, is_open BOOLEAN)")
        database.commit()
        yield database


def add(database: sqlite3.Connection, *trades: tuple[str, int]) -> None:
    database.executemany("INSERT INTO trades (pair, is_open) VALUES (?, ?)", trades)
    database.commit()


def test_open_trades_are_found_while_the_database_is_in_use(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    add(database, ("BTC/USDT:USDT", 1), ("ETH/USDT:USDT", 0), ("SOL/USDT:USDT", 1))
    assert positions.of(tmp_path) == ["BTC/USDT:USDT", "SOL/USDT:USDT"]


def test_closed_trades_do_not_count(database: sqlite3.Connection, tmp_path: Path) -> None:
    add(database, ("BTC/USDT:USDT", 0))
    assert positions.of(tmp_path) == []


def test_simulated_trades_do_not_count(database: sqlite3.Connection, tmp_path: Path) -> None:
    add(database, ("BTC/USDT:USDT", 1))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / positions.DATABASE).rename(tmp_path / "tradesv3.dryrun.sqlite")
    assert positions.of(tmp_path) == []


def test_no_database_and_an_empty_one_hold_no_trades(tmp_path: Path) -> None:
    assert positions.of(tmp_path) == []
    sqlite3.connect(tmp_path / positions.DATABASE).close()
    (tmp_path / positions.DATABASE).touch()
    assert positions.of(tmp_path) == []


def test_what_sqlite_cannot_join_in_place_is_read_from_a_copy(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, ("BTC/USDT:USDT", 1))
    connect = sqlite3.connect

    def read_only_folder(database: str, *, uri: bool) -> sqlite3.Connection:
        if str(tmp_path) in database:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(database, uri=uri)

    monkeypatch.setattr(sqlite3, "connect", read_only_folder)
    assert positions.of(tmp_path) == ["BTC/USDT:USDT"]


def test_a_database_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / positions.DATABASE).write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        positions.of(tmp_path)


def test_as_a_program_it_needs_nothing_of_the_project(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    add(database, ("BTC/USDT:USDT", 1))
    source = Path(positions.__file__).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", str(tmp_path)],
        input=source, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["BTC/USDT:USDT"]
