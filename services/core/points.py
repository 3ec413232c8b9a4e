"""Points for InfluxDB: line protocol, and a bounded store for the time InfluxDB is away."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from logging import getLogger

from influxdb.line_protocol import make_line

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, PointsRefused
from aggr_server.log import kv

Field = bool | int | float | str

_log = getLogger(__name__)


def line(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, Field | None], ts_ms: int
) -> str:
    """One point in line protocol with a millisecond time; fields that are None are left out.

    Raises ValueError for a float that is no number, or if no field is left.
    """
    kept = {key: value for key, value in fields.items() if value is not None}
    if not kept:
        raise ValueError(f"{measurement}: a point needs at least one field")
    for key, value in kept.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{measurement}: {key} is {value}")
    text: str = make_line(measurement, tags=dict(tags), fields=kept)
    return f"{text} {ts_ms}"


class PointStore:
    """Points on their way to InfluxDB, oldest first. While it is away they wait here.

    Holds at most `capacity` points; beyond that the oldest go, and the log says how many.
    """

    def __init__(self, influx: InfluxClient, *, capacity: int = 20_000, batch: int = 1000) -> None:
        self._influx = influx
        self._capacity = capacity
        self._batch = batch
        self._waiting: deque[str] = deque()
        self.dropped = 0
        self.error = ""

    def __len__(self) -> int:
        return len(self._waiting)

    async def write(self, lines: Iterable[str]) -> bool:
        """Add points and write all that wait; False while InfluxDB is away or not set up.

        Points that InfluxDB refuses are dropped and named in the log, since they never will fit.
        """
        self._waiting.extend(lines)
        self._shorten()
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(self._batch, len(self._waiting)))]
            try:
                await self._influx.write(batch, precision="ms")
            except PointsRefused as error:
                self.dropped += len(batch)
                _log.error("InfluxDB refuses points %s", kv(points=len(batch), error=error))
            except (InfluxUnavailable, InfluxError) as error:
                if not self.error:
                    remedy = "start InfluxDB, run influx-init, check the login"
                    _log.warning("points wait for InfluxDB %s", kv(error=error, remedy=remedy))
                self.error = str(error)
                return False
            for _ in batch:
                self._waiting.popleft()
        if self.error:
            _log.info("InfluxDB takes points again")
            self.error = ""
        return True

    def _shorten(self) -> None:
        surplus = len(self._waiting) - self._capacity
        if surplus <= 0:
            return
        for _ in range(surplus):
            self._waiting.popleft()
        self.dropped += surplus
        _log.error(
            "points lost, InfluxDB has been away too long %s",
            kv(points=surplus, total=self.dropped, remedy="start InfluxDB"),
        )
