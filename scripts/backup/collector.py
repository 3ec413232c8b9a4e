"""The collector's folder: its spool, and where it stopped. Its files may be written meanwhile.

Runs as a program too, inside a container: it writes a tar archive to standard output, unpacks one
from standard input, or empties the folder, and uses nothing but the standard library.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path
from typing import BinaryIO


def pack(folder: Path, out: BinaryIO) -> None:
    """Write the folder as a compressed tar archive.

    A record that is being written is cut off: the collector passes over it when it reads.
    """
    with tarfile.open(fileobj=out, mode="w|gz") as archive:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file():
                _add(archive, path, str(path.relative_to(folder)))


def unpack(archive: BinaryIO, folder: Path) -> None:
    """The reverse of `pack`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive, mode="r|gz") as files:
        if hasattr(tarfile, "data_filter"):
            files.extraction_filter = tarfile.data_filter
        files.extractall(folder)


def clear(folder: Path) -> None:
    """Empty the folder."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # stored in InfluxDB meanwhile
    with file:
        # The size as of now; what is appended later stays out.
        archive.addfile(archive.gettarinfo(arcname=name, fileobj=file), file)


def _main(arguments: list[str]) -> int:
    command, folder = arguments[0], Path(arguments[1])
    if command == "pack":
        pack(folder, sys.stdout.buffer)
    elif command == "clear":
        clear(folder)
    else:
        unpack(sys.stdin.buffer, folder)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
