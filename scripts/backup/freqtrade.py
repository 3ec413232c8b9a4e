"""freqtrade's folder: its databases as consistent copies, everything else as it is.

Runs as a program too, inside freqtrade's container: it writes a tar archive to standard output,
unpacks one from standard input, lists or removes the databases, and uses nothing but the standard
library.
"""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO

DATABASES = "*.sqlite"
LEFT_OUT = ("logs", "strategies", "backtest_results", "data", "plot", "__pycache__")


def pack(folder: Path, out: BinaryIO, room: Path | None = None) -> None:
    """Write the folder as a compressed tar archive; databases may be in use meanwhile.

    `room`: folder for their copies, the system's for temporary files if left out.
    """
    with (
        tarfile.open(fileobj=out, mode="w|gz") as archive,
        tempfile.TemporaryDirectory(dir=room) as scratch,
    ):
        for path in sorted(folder.glob(DATABASES)):
            copy = Path(scratch) / path.name
            _copy_database(path, copy)
            archive.add(copy, arcname=path.name)
            copy.unlink()
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in LEFT_OUT and not path.name.startswith(".") and not _database(path):
                archive.add(path, arcname=path.name)


def unpack(archive: BinaryIO, folder: Path) -> None:
    """The reverse of `pack`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive, mode="r|gz") as files:
        if hasattr(tarfile, "data_filter"):
            files.extraction_filter = tarfile.data_filter
        files.extractall(folder)


def contents(folder: Path) -> list[str]:
    """Names of the databases in the folder."""
    return [path.name for path in sorted(folder.glob(DATABASES))]


def clear(folder: Path) -> None:
    """Remove the databases. A write-ahead log that a crash has left would be applied to whatever
    database takes their place."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _database(path):
            path.unlink()


def _database(path: Path) -> bool:
    return path.name.endswith((".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal"))


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own online backup: all of a transaction or nothing of it."""
    old, new = _opened(source), sqlite3.connect(target)
    try:
        old.backup(new)
    finally:
        old.close()
        new.close()


def _opened(path: Path) -> sqlite3.Connection:
    """Also where nothing may be written: then a database that nobody has open has to be declared
    unchanging, because SQLite cannot make the file in which it counts its readers."""
    for mode in ("mode=rw", "immutable=1"):
        connection = sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=60)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            connection.close()
            if Path(f"{path}-wal").exists():
                raise
        else:
            return connection
    raise sqlite3.OperationalError(f"{path} cannot be opened")


def _main(arguments: list[str]) -> int:
    command, folder = arguments[0], Path(arguments[1])
    if command == "pack":
        pack(folder, sys.stdout.buffer)
    elif command == "unpack":
        unpack(sys.stdin.buffer, folder)
    elif command == "clear":
        clear(folder)
    else:
        print("\n".join(contents(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
