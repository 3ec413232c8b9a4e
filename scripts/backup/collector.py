"""The collector's folder: its spool, and where it stopped. Its files may be written meanwhile.

Collectors that share the markets have a folder each, and in it their files under a name of their
own (`aggr_server.shards`), so that one archive holds them all.

Runs as a program too, inside a container: it writes a tar archive to standard output, unpacks one
from standard input, or empties the folder, and uses nothing but the standard library.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_PART = re.compile(r"shard-(\d+)/")


def pack(out: BinaryIO, folders: Sequence[Path]) -> None:
    """Write the folders as one compressed tar archive.

    A record that is being written is cut off: the collector passes over it when it reads.
    """
    with tarfile.open(fileobj=out, mode="w|gz") as archive:
        for folder in folders:
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                if path.is_file():
                    _add(archive, path, str(path.relative_to(folder)))


def unpack(archive: BinaryIO, folder: Path, part: int = 0) -> None:
    """The reverse of `pack`; of several collectors only what is of the `part`-th, 0: all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive, mode="r|gz") as files:
        if hasattr(tarfile, "data_filter"):
            files.extraction_filter = tarfile.data_filter
        for file in files:
            if part in (0, _part_of(file.name)):
                files.extract(file, folder)


def _part_of(name: str) -> int:
    found = _PART.match(name)
    return int(found[1]) if found else 1


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
    command, folder, *rest = arguments
    if command == "pack":
        pack(sys.stdout.buffer, [Path(folder), *map(Path, rest)])
    elif command == "clear":
        clear(Path(folder))
    else:
        unpack(sys.stdin.buffer, Path(folder), *map(int, rest))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
