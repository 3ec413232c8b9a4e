from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import Bar, ClosedSecond, Gap, Market
from aggr_server.writer import Writer
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.aggr_server.waiting import until
from tests.integration.servers import InfluxServer


def bar(second: int, market: str = "A:x", price: float = 1.0) -> Bar:
    return Bar(second, market, price, price, price, price, 2.0, 3.0, 1, 1, 0.0, 0.0)


def closed(second: int, *bars: Bar, amended: list[Bar] | None = None) -> ClosedSecond:
    return ClosedSecond("c", "e", 1, second, 0, None, list(bars), amended or [])


async def stored(influx: InfluxClient, market: str = "A:x") -> dict[int, float]:
    rows = await influx.query(f"SELECT close FROM aggr_1s.trades_1s WHERE market = '{market}'")
    return {row["time"]: row["close"] for row in rows}


@pytest.fixture
def now_s() -> int:
    """A second that InfluxDB still keeps."""
    return int(time.time()) - 100


async def test_bars_gaps_and_markets_are_stored(influx: InfluxClient, now_s: int) -> None:
    writer = Writer(influx, batch=2)
    for second in range(now_s, now_s + 5):
        writer.add(closed(second, bar(second)))
    writer.add_gaps([Gap("A:x", now_s, now_s + 2, "start"), Gap("A:x", now_s, now_s + 4, "start")])
    writer.add_markets([Market("A:x", "A", "BTC", "USDT", "spot")], now_s)
    assert await writer.flush()
    assert sorted(await stored(influx)) == list(range(now_s, now_s + 5))
    (gap,) = await influx.query("SELECT * FROM gaps")
    assert (gap["from_s"], gap["to_s"], gap["reason"]) == (now_s, now_s + 4, "start")
    (market,) = await influx.query("SELECT * FROM markets")
    assert (market["base"], market["quote"], market["kind"]) == ("BTC", "USDT", "spot")
    assert (writer.backlog, writer.points_written) == (0, 7)


async def test_an_amended_bar_replaces_the_stored_one(influx: InfluxClient, now_s: int) -> None:
    writer = Writer(influx)
    writer.add(closed(now_s, bar(now_s, price=1.0)))
    await writer.flush()
    writer.add(closed(now_s + 1, amended=[bar(now_s, price=2.0)]))
    await writer.flush()
    assert await stored(influx) == {now_s: 2.0}


async def test_a_field_conflict_is_counted_and_said_and_the_rest_is_stored(
    influx: InfluxClient, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    await influx.write([f'trades_1s,market=B:y close="text" {now_s}'], retention_policy="aggr_1s")
    writer = Writer(influx, batch=1)
    writer.add(closed(now_s, bar(now_s)))
    assert await writer.flush()
    assert writer.points_refused == 1
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "field type conflict" in record.getMessage()


async def test_a_missing_database_keeps_the_bars(
    connections: Connections, influx: InfluxClient, now_s: int
) -> None:
    other = Connections(influx_port=connections.influx_port, influx_database="nobody_made_it")
    async with InfluxClient(other) as lost:
        writer = Writer(lost)
        writer.add(closed(now_s, bar(now_s)))
        assert not await writer.flush()
        assert (writer.backlog, writer.points_refused) == (1, 0)


async def test_how_long_nobody_collected_is_found_out_before_the_first_bar(
    influx: InfluxClient, now_s: int
) -> None:
    before = Writer(influx)
    before.add(closed(now_s, bar(now_s), bar(now_s - 30, "B:y")))
    await before.flush()
    after = Writer(influx)
    after.look_back(["A:x", "B:y", "C:new"], now_s + 20)
    after.add(closed(now_s + 21, bar(now_s + 21)))
    assert await after.flush()
    found = [
        Gap("A:x", now_s - 1, now_s + 20, "down"),
        Gap("B:y", now_s - 1, now_s + 20, "down"),
    ]
    assert after.take_down_gaps() == found
    assert after.take_down_gaps() == []
    rows = await influx.query("SELECT * FROM gaps")
    assert {(r["market"], r["from_s"], r["to_s"]) for r in rows} == {
        (g.market, g.from_s, g.to_s) for g in found
    }


@pytest.fixture
async def fragile(own_influx: InfluxServer) -> AsyncIterator[InfluxClient]:
    settings = InfluxSchemaSettings(influx_port=own_influx.port)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    async with InfluxClient(settings, timeout_s=1.0) as client:
        yield client


async def test_an_outage_loses_nothing(
    fragile: InfluxClient, own_influx: InfluxServer, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(fragile, flush_s=0.05)
    writer.add(closed(now_s, bar(now_s)))
    task = asyncio.create_task(writer.run())
    try:
        await until(lambda: not writer.backlog)
        own_influx.kill()
        for second in range(now_s + 1, now_s + 40):
            writer.add(closed(second, bar(second)))
            await asyncio.sleep(0.005)
        await until(lambda: not writer.connected)
        kept: int = writer.backlog
        assert kept == 39
        own_influx.start()
        await until(lambda: not writer.backlog)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert sorted(await stored(fragile)) == list(range(now_s, now_s + 40))
    warnings = [r for r in caplog.records if "influxdb away" in r.getMessage()]
    assert len(warnings) == 1


async def test_what_does_not_fit_is_dropped_oldest_first_and_recorded(
    fragile: InfluxClient, own_influx: InfluxServer, now_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(fragile, keep_s=60)
    own_influx.kill()
    for second in range(now_s, now_s + 70):
        writer.add(closed(second, bar(second)))
    assert not await writer.flush()
    assert (writer.backlog, writer.bars_dropped) == (60, 10)
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    own_influx.start()
    assert await writer.flush()
    assert sorted(await stored(fragile)) == list(range(now_s + 10, now_s + 70))
    (gap,) = await fragile.query("SELECT * FROM gaps")
    assert (gap["from_s"], gap["to_s"], gap["reason"]) == (now_s, now_s + 10, "overflow")
