"""Logging for every process of the stack: one line per event, key=value, UTC."""

from __future__ import annotations

import logging
import socket
import sys
import time
from typing import Any


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{utc}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        # A traceback keeps its line breaks; the event itself must stay one line.
        head, separator, trace = line.partition("\nTraceback")
        return head.replace("\n", " | ") + separator + trace


def _is_somebodys(record: logging.LogRecord) -> bool:
    """False of a failed name lookup that a time-out had ended before: uvloop then reports it as
    nobody's, though whoever waited has been told."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name != "asyncio" or not isinstance(error, socket.gaierror)


def setup(service: str, level: str = "INFO") -> None:
    """Send all logging of this process to standard error, marked with `service`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(f"%(asctime)s level=%(levelname)s service={service} logger=%(name)s %(message)s")
    )
    handler.addFilter(_is_somebodys)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def kv(**fields: Any) -> str:
    """`a=1 b="two words"`: fields for a log line, in the order given."""
    return " ".join(f"{key}={_quote(value)}" for key, value in fields.items())


def _quote(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if not text or any(c in text for c in ' "='):
        return '"' + text.replace('"', "'") + '"'
    return text
