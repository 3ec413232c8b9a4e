"""InfluxDB: series and memory."""

from __future__ import annotations

from typing import Any

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

EVERY_S = 60.0
TIMEOUT_S = 8.0
SUBJECT = "aggr-influx"


class InfluxServer:
    """Asks with the stack's own login, which may read the statistics."""

    def __init__(self, influx: InfluxClient, database: str) -> None:
        self._influx = influx
        self._database = database

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            # An estimate from the index: exact counts read every series.
            counted = await self._influx.query(f'SHOW SERIES CARDINALITY ON "{self._database}"')
            runtime = await self._influx.query("SHOW STATS FOR 'runtime'")
        except (InfluxError, InfluxUnavailable) as error:
            raise Unreadable(str(error)) from error
        found = []
        if (series := series_of(counted)) is not None:
            found.append(Reading(name="influx_series", subject=self._database, value=float(series)))
        if (memory := memory_of(runtime)) is not None:
            found.append(Reading(name="influx_memory_bytes", subject=SUBJECT, value=float(memory)))
        return found


def series_of(rows: list[dict[str, Any]]) -> int | None:
    """The one figure of the answer, whose column is named differently from release to release."""
    for row in rows:
        for name, value in row.items():
            if name in ("cardinality estimation", "count"):
                return int(value)
    return None


def memory_of(rows: list[dict[str, Any]]) -> int | None:
    """What the Go runtime has from the system and has not given back."""
    for row in rows:
        if "Sys" in row and "HeapReleased" in row:
            return int(row["Sys"]) - int(row["HeapReleased"])
    return None
