"""Reading a file of line protocol, and writing it into InfluxDB.

Runs as a program too, inside a container: it takes the file from standard input, and uses nothing
but the standard library.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BATCH_LINES = 5_000
TIMEOUT_S = 120


def batches(packed: BinaryIO) -> Iterator[bytes]:
    """The points of a compressed file, some thousand at a time. Raises OSError, EOFError."""
    batch: list[bytes] = []
    with gzip.open(packed) as file:
        # Texts may hold line feeds: beyond the head, a line that looks like one is none.
        below_head = itertools.dropwhile(_of_head, file)
        for line in below_head:
            batch.append(line)
            if len(batch) >= BATCH_LINES and _ends_a_point(line):
                yield b"".join(batch)
                batch = []
    if batch:
        yield b"".join(batch)


def _of_head(line: bytes) -> bool:
    return line.startswith((b"#", b"CREATE "))


def _ends_a_point(line: bytes) -> bool:
    return line.rstrip(b"\n").rpartition(b" ")[2].lstrip(b"-").isdigit()


def _main(database: str, policy: str) -> int:
    environ = os.environ
    address = f"http://{environ['INFLUX_HOST']}:{environ['INFLUX_PORT']}"
    where = urllib.parse.urlencode({"db": database, "rp": policy, "precision": "ns"})
    password = Path(environ["INFLUX_PASSWORD_FILE"]).read_text(encoding="utf-8").strip()
    login = f"{environ.get('INFLUX_USERNAME') or 'squeezeflow'}:{password}"
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    for points in batches(sys.stdin.buffer):
        request = urllib.request.Request(f"{address}/write?{where}", points, headers)
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            print(error.read().decode(), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
