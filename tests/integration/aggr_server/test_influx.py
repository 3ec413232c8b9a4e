"""The client against a real InfluxDB: what was written is what is read, and refusals are told."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from aggr_server.influx import (
    InfluxClient,
    InfluxError,
    InfluxUnavailable,
    NotSetUp,
    PointsRefused,
)
from aggr_server.settings import Connections
from tests.integration.servers import free_port

NOW = int(time.time())


async def test_values_come_back_exactly_as_what_they_are(influx: InfluxClient) -> None:
    await influx.write(
        [
            f"kinds,market=A:x price={math.pi!r},whole=5.0,count={2**62}i,"
            f'name="a, b",flag=true {NOW}',
            f"kinds,market=A:x price=1e-300 {NOW + 1}",
        ]
    )
    first, second = await influx.query("SELECT * FROM kinds")
    assert first == {
        "time": NOW, "market": "A:x", "price": math.pi, "whole": 5.0, "count": 2**62,
        "name": "a, b", "flag": True,
    }  # fmt: skip
    assert isinstance(first["whole"], float)
    assert (second["price"], second["whole"], second["count"]) == (1e-300, None, None)


async def test_times_come_in_the_unit_that_is_asked_for(influx: InfluxClient) -> None:
    await influx.write([f"kinds value=1 {NOW}"])
    [row] = await influx.query("SELECT value FROM kinds", epoch="ms")
    assert row == {"time": NOW * 1000, "value": 1.0}


async def test_tags_of_groups_and_several_series_are_rows(influx: InfluxClient) -> None:
    await influx.write([f"kinds,market={market} value={n} {NOW}" for n, market in enumerate("ab")])
    rows = await influx.query("SELECT value FROM kinds GROUP BY market")
    assert rows == [
        {"market": "a", "time": NOW, "value": 0.0},
        {"market": "b", "time": NOW, "value": 1.0},
    ]
    assert await influx.query("SELECT value FROM nothing") == []


@pytest.mark.parametrize("text", ["SELECT nonsense", "SELECT first(a), mean(b), * FROM kinds"])
async def test_a_refused_query_is_named(influx: InfluxClient, text: str) -> None:
    with pytest.raises(InfluxError, match=r"error parsing|mixing|not supported"):
        await influx.query(text)


async def test_refused_points_are_told_from_a_missing_database(
    influx: InfluxClient, connections: Connections
) -> None:
    await influx.write([f"kinds value=1 {NOW}"])
    with pytest.raises(PointsRefused, match="field type conflict"):
        await influx.write([f'kinds value="text" {NOW}'])
    elsewhere = Connections(influx_port=connections.influx_port, influx_database="nowhere")
    async with InfluxClient(elsewhere) as lost:
        with pytest.raises(NotSetUp, match=r"database not found.*influx-init"):
            await lost.write([f"kinds value=1 {NOW}"])
        with pytest.raises(NotSetUp, match="database not found"):
            await lost.query("SELECT value FROM kinds")
    with pytest.raises(NotSetUp, match="retention policy not found"):
        await influx.query("SELECT value FROM never.kinds")


async def test_what_is_no_answer_is_unavailable() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"\xc1 neither MessagePack nor JSON"
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-msgpack\r\nContent-Length: "
        writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    port = free_port()
    async with (
        await asyncio.start_server(babble, "127.0.0.1", port),
        InfluxClient(Connections(influx_port=port)) as influx,
    ):
        with pytest.raises(InfluxUnavailable):
            await influx.query("SELECT 1")
