"""Points on their way to InfluxDB, for who must not wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from logging import getLogger

from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import names
from services.core.points import PointStore, line
from services.core.records import Alert
from services.monitor.readings import Reading

CAPACITY = 20_000
PATIENCE_S = 1.0
READ_AGAIN_S = 60.0
"""A reading that does not change is written this often."""

_log = getLogger(__name__)


class Writer:
    """Writes in a task of its own. What comes meanwhile waits, at most `CAPACITY` points."""

    def __init__(self, influx: InfluxClient, *, patience_s: float = PATIENCE_S) -> None:
        self._store = PointStore(influx, capacity=CAPACITY)
        self._patience_s = patience_s
        self._waiting: deque[str] = deque(maxlen=CAPACITY)
        self._writing: asyncio.Task[bool] | None = None
        self._full = False

    @property
    def error(self) -> str:
        """Why InfluxDB takes no points; empty if it does."""
        return self._store.error

    def put(self, lines: Iterable[str]) -> None:
        """Take points; beyond the capacity the oldest go."""
        for text in lines:
            if len(self._waiting) == CAPACITY and not self._full:
                self._full = True
                _log.error("points lost, InfluxDB hangs %s", kv(remedy="restart InfluxDB"))
            self._waiting.append(text)

    async def write(self) -> None:
        """Write what waits; return when it is written, or after the patience.

        Raises what only a bug can have raised.
        """
        if self._writing is None:
            lines = list(self._waiting)
            self._waiting.clear()
            self._full = False
            self._writing = asyncio.create_task(self._store.write(lines))
        await asyncio.wait([self._writing], timeout=self._patience_s)
        if self._writing.done():
            done, self._writing = self._writing, None
            done.result()

    async def close(self) -> None:
        """Write no more."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)


class ReadingLines:
    """Points of the measurement `readings`: of what has changed, and of the rest now and then."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int]] = {}

    def of(self, readings: Iterable[Reading]) -> list[str]:
        """Those to be written now."""
        lines = []
        kept: dict[str, tuple[float, int]] = {}
        for reading in readings:
            value, at_ms = self._written.get(reading.key, (None, 0))
            again = reading.ts_ms - at_ms >= READ_AGAIN_S * 1000
            if reading.value != value or again:
                lines.append(_reading_line(reading))
                kept[reading.key] = reading.value, reading.ts_ms
            else:
                kept[reading.key] = self._written[reading.key]
        self._written = kept
        return lines


def _reading_line(reading: Reading) -> str:
    return line(
        names.READINGS_MEASUREMENT,
        {"name": reading.name, "subject": reading.subject},
        {"value": float(reading.value)},
        reading.ts_ms,
    )


def alert_line(alert: Alert) -> str:
    """A point of `system_alerts`."""
    # Without the subject, alerts of one rule and round would be one point.
    about = alert.subject or alert.symbol
    return line(
        names.ALERTS_MEASUREMENT,
        {"code": alert.code, "level": alert.level, **({"subject": about} if about else {})},
        {"text": alert.text, "over": bool(alert.ended_level)},
        alert.ts_ms,
    )
