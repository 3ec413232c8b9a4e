"""Every query of Chronograf's dashboards, on what the services themselves have stored."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server import wire
from aggr_server.influx import InfluxClient
from aggr_server.points import bar_line, gap_line
from aggr_server.wire import Bar, Gap
from services.core import names
from services.core.records import OpenInterest
from services.core.schema import rebuild_statements
from services.core.settings import SystemMonitorSettings
from services.influx_signal_manager import (
    InfluxSignalManager,
    Outcome,
    line_of_fill,
    line_of_signal,
    point_key,
)
from services.monitor.checks import Checker
from services.monitor.measure.catalog import READINGS
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses
from services.monitor.readings import Reading
from services.monitor.writer import ReadingLines
from services.oi.aggregate import aggregate
from services.oi.store import FUTURES_AGG, TOTAL_AGG, aggregate_line, venue_lines
from tests.integration.monitor.support import HEARTBEAT_SERVICES, beat
from tests.integration.servers import ROOT
from tests.unit.test_signal_validator import signal

BOARDS = sorted((ROOT / "docker" / "chronograf" / "resources").glob("*.dashboard"))
BLANK = {"carried", "held", "missing"}
"""Columns that name venues with which something is wrong."""

MARKETS = ("BINANCE:btcusdt", "BINANCE_FUTURES:btcusdt")


async def store_bars(influx: InfluxClient, database: str) -> None:
    now = int(time.time())
    bars = [
        Bar(second, market, 100.0, 101.0, 99.0, 100.5, 500.0, 400.0, 5, 4, 10.0, 20.0)
        for second in range(now - 900, now - 600, 30)
        for market in MARKETS
    ]
    policy = wire.TIMEFRAMES[0].retention_policy
    await influx.write(map(bar_line, bars), retention_policy=policy)
    for statement in rebuild_statements(database, now - 900, now):
        await influx.query(statement)
    gaps = [Gap(market, now - 800, now - 790, "reconnect") for market in MARKETS]
    await influx.write(map(gap_line, gaps))


async def store_open_interest(influx: InfluxClient) -> None:
    now_ms = time.time_ns() // 1_000_000 - 5_000
    samples = {
        name: OpenInterest(
            exchange=name,
            base="BTC",
            ts_ms=now_ms,
            coins=2.0,
            usd=2e5,
            price=1e5,
            raw=2.0,
            unit="base",
        )
        for name in ("BINANCE_FUTURES", "BYBIT")
    }
    total = aggregate(samples, samples.keys(), {}, now_ms)
    assert total is not None
    sums = [aggregate_line("BTC", kind, total, 0.05, now_ms) for kind in (FUTURES_AGG, TOTAL_AGG)]
    venues = [line for sample in samples.values() for line in venue_lines(sample, 0.05)]
    await influx.write([*venues, *sums], precision="ms")


async def store_signals(influx: InfluxClient) -> None:
    manager = InfluxSignalManager(influx)
    now_ms = time.time_ns() // 1_000_000 - 60_000
    outcomes: tuple[Outcome, ...] = ("profitable", "unprofitable", "expired", "cancelled")
    for i, outcome in enumerate(outcomes):
        decided = signal(signal_id=f"id-{i}", ts_ms=now_ms + i, reasoning="spot leads")
        manager.store(line_of_signal(decided, {}))
        manager.store(line_of_fill(point_key(decided), i, 100.5, now_ms))
        manager.finish(
            point_key(decided),
            outcome,
            exit_price=101.0,
            exit_reason="flow_reversal",
            pnl=1.5,
            pnl_percentage=0.5,
        )
    await manager.drain()


async def store_system(
    settings: SystemMonitorSettings, checker: Checker, redis: Redis, influx: InfluxClient
) -> None:
    """Two rounds of the monitor, with a service that is down; and a reading of every kind."""
    await beat(redis, HEARTBEAT_SERVICES[0])
    monitor = Monitor(settings, redis, influx, checker, KnownProcesses())
    try:
        await monitor.round()
        await monitor.round()
    finally:
        await monitor.close()
    now_ms = time.time_ns() // 1_000_000 - 1_000
    kinds = [Reading(name=name, subject="here", value=1.0, ts_ms=now_ms) for name in READINGS]
    await influx.write(ReadingLines().of(kinds), precision="ms")


@pytest.fixture
async def stored(
    settings: SystemMonitorSettings,
    checker: Checker,
    redis: Redis,
    influx: InfluxClient,
    influx_database: str,
) -> None:
    await store_bars(influx, influx_database)
    await store_open_interest(influx)
    await store_signals(influx)
    await store_system(settings, checker, redis, influx)


@pytest.mark.usefixtures("stored")
async def test_each_cell_has_something_to_show(influx: InfluxClient, influx_database: str) -> None:
    for path in BOARDS:
        text = path.read_text(encoding="utf-8").replace("{{ .INFLUX_DATABASE }}", influx_database)
        board = json.loads(text)
        for template in board["templates"]:
            if template["type"] == "tagValues":
                assert await is_offered(influx, template), (path.name, template["tempVar"])
        for cell in board["cells"]:
            for query in cell["queries"]:
                await show(influx, cell, rendered(query["query"], board["templates"]))


async def show(influx: InfluxClient, cell: dict[str, Any], query: str) -> None:
    """Run a cell's query; of a table, every column must have a value somewhere."""
    rows = await influx.query(query)
    found = {name for row in rows for name, value in row.items() if value not in (None, "")}
    assert found - {"time"}, (cell["name"], query)
    if cell["type"] == "table":
        asked = {field["internalName"].split(".")[-1] for field in cell["fieldOptions"]}
        assert asked - found <= BLANK, (cell["name"], asked - found)


async def is_offered(influx: InfluxClient, template: dict[str, Any]) -> bool:
    """Whether the variable's own query finds the value that is chosen at first."""
    query = template["query"]
    text = query["influxql"]
    for name, key in (("database", "db"), ("measurement", "measurement"), ("tagKey", "tagKey")):
        text = text.replace(f":{name}:", f'"{query[key]}"')
    chosen = next(value["value"] for value in template["values"] if value["selected"])
    return chosen in {row["value"] for row in await influx.query(text)}


def rendered(query: str, templates: list[dict[str, Any]]) -> str:
    """The query as Chronograf sends it for the last hour."""
    for template in templates:
        chosen = next(value for value in template["values"] if value["selected"])
        quoted = chosen["type"] == "tagValue"
        value = f"'{chosen['value']}'" if quoted else chosen["value"]
        query = query.replace(template["tempVar"], value)
    for variable, value in (
        (":dashboardTime:", "now() - 1h"),
        (":upperDashboardTime:", "now()"),
        (":interval:", "10000ms"),
    ):
        query = query.replace(variable, value)
    assert not re.search(r":[A-Za-z]+:", query), query
    return query


def test_measurements_are_the_ones_the_services_name() -> None:
    text = " ".join(path.read_text(encoding="utf-8") for path in BOARDS)
    asked = set(re.findall(r'\\":db:\\"\.\\"30_days\\"\.\\"(\w+)\\"', text))
    assert asked == {
        wire.GAPS_MEASUREMENT,
        names.OI_MEASUREMENT,
        names.SIGNALS_MEASUREMENT,
        names.CONTAINERS_MEASUREMENT,
        names.HOST_MEASUREMENT,
        names.DISK_MEASUREMENT,
        names.HEALTH_MEASUREMENT,
        names.ALERTS_MEASUREMENT,
        names.READINGS_MEASUREMENT,
    }
