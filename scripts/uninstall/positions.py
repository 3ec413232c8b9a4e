"""Trades with real money that freqtrade's databases hold as open. Standard library only.

Runs as a program too, inside freqtrade's container, and prints one pair a line.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

DATABASE = "tradesv3.sqlite"
"""Of real money; that of simulated money has another name."""
_OPEN = "SELECT pair FROM trades WHERE is_open = 1 ORDER BY id"


def of(folder: Path) -> list[str]:
    """Pairs of the open trades in the database of `folder`; none if there is no database.

    Raises `sqlite3.Error` and OSError if it cannot be read.
    """
    path = folder / DATABASE
    if not path.exists():
        return []
    try:
        return _pairs(path)
    except sqlite3.OperationalError:
        # What was not yet written into the database lies beside it, which a read-only folder
        # keeps SQLite from joining.
        with tempfile.TemporaryDirectory() as scratch:
            for part in folder.glob(f"{DATABASE}*"):
                shutil.copyfile(part, Path(scratch) / part.name)
            return _pairs(Path(scratch) / DATABASE)


def _pairs(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'trades'").fetchone():
            return []
        return [str(pair) for (pair,) in database.execute(_OPEN)]


if __name__ == "__main__":
    print("\n".join(of(Path(sys.argv[1]))))
