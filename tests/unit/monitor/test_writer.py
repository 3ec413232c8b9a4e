"""Points that wait for InfluxDB, and which readings are written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from aggr_server.influx import InfluxClient
from services.core.records import Alert
from services.monitor.readings import Reading
from services.monitor.writer import ReadingLines, Writer, alert_line


class Database:
    """Takes points, or hangs."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.answering = asyncio.Event()

    async def write(self, lines: Iterable[str], *, precision: str = "s") -> None:
        await self.answering.wait()
        self.written += lines


def writer(database: Database) -> Writer:
    return Writer(cast(InfluxClient, database), patience_s=0.05)


async def test_a_database_that_hangs_is_not_waited_for_and_gets_everything_later() -> None:
    database = Database()
    made = writer(database)
    for number in range(5):
        made.put([f"point {number}"])
        await made.write()
    assert database.written == []
    database.answering.set()
    while len(database.written) < 5:
        await made.write()
    assert database.written == [f"point {number}" for number in range(5)]
    await made.close()


def reading(value: float, ts_ms: int, name: str = "host_cpu_percent") -> Reading:
    return Reading(name=name, subject="host", value=value, ts_ms=ts_ms)


def test_a_reading_is_written_when_it_changes_and_each_minute_else() -> None:
    lines = ReadingLines()
    written = [
        len(lines.of([reading(value, ts_ms)]))
        for ts_ms, value in (
            (1_000, 0.0), (6_000, 0.0), (11_000, 1.0), (16_000, 1.0), (71_000, 1.0), (71_000, 1.0),
        )
    ]  # fmt: skip
    assert written == [1, 0, 1, 0, 1, 0]


def test_a_point_of_a_reading_has_its_name_its_subject_and_its_own_time() -> None:
    assert ReadingLines().of([reading(2, 1_234)]) == [
        "readings,name=host_cpu_percent,subject=host value=2.0 1234"
    ]


def test_alerts_of_one_rule_and_moment_are_points_of_their_own() -> None:
    lines = {
        alert_line(Alert(level="critical", code="service_down", subject=s, text="x", ts_ms=1))
        for s in ("redis", "freqtrade")
    }
    assert len({text.split(" ")[0] for text in lines}) == 2
