"""The last thing that went wrong, by a service's log."""

from __future__ import annotations

import os
import re
from pathlib import Path

READ_BYTES = 256 * 1024
LONGEST = 240

_ERROR = re.compile(
    r"level=(?:ERROR|CRITICAL)|\b(?:ERROR|CRITICAL|FATAL|Fatal)\b|lvl=(?:error|fatal)"
    r"|^\w[\w.]*(?:Error|Exception|Refused)\b"
)


def last_error(text: str) -> str:
    """The last line that tells of an error, shortened; empty if there is none."""
    for line in reversed(text.splitlines()):
        if _ERROR.search(line):
            return shortened(line)
    return ""


def last_line(text: str) -> str:
    """The last line that is not blank, shortened."""
    return next((shortened(line) for line in reversed(text.splitlines()) if line.strip()), "")


def shortened(line: str) -> str:
    """At most as long as two lines of a terminal."""
    line = line.strip()
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def end_of(path: Path) -> str:
    """The end of a file; empty if there is none that may be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - READ_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
