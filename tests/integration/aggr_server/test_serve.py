"""The whole collector: a venue on real sockets, a real Redis, a real InfluxDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server import wire
from aggr_server.collector import NothingToCollect
from aggr_server.influx import InfluxClient
from aggr_server.serve import PortInUse, serve
from aggr_server.settings import CollectorSettings, Connections
from tests.integration.aggr_server.process import Listener, eventually
from tests.integration.aggr_server.venue import Venue
from tests.integration.servers import free_port

MARKET = "BINANCE:btcusdt"


def settings_for(
    connections: Connections, gateway: str, folder: Path, **more: Any
) -> CollectorSettings:
    shared = msgspec.structs.asdict(connections)
    values = {
        "aggr_symbols": ("BTC",),
        "aggr_exchanges": ("BINANCE",),
        "aggr_data_dir": str(folder),
        **more,
    }
    return CollectorSettings(
        **{**shared, "exchange_gateway": gateway, "port": free_port(), **values}
    )


class Stack:
    """A running collector and ways to look at it."""

    def __init__(self, venue: Venue, settings: CollectorSettings) -> None:
        self.venue = venue
        self.settings = settings
        self.listener = Listener()
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{settings.port}")

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.http.get(path) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            return response.status, await response.json()

    async def healthy(self) -> None:
        while True:
            if (await self.get("/health"))[1]["status"] == "ok":
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def collecting(
    venue: Venue, settings: CollectorSettings, redis: Redis
) -> AsyncIterator[Stack]:
    stop = asyncio.Event()
    stack = Stack(venue, settings)
    async with stack.listener.listening(redis):
        server = asyncio.create_task(serve(settings, stop))
        try:
            async with asyncio.timeout(50):
                yield stack
                stop.set()
                await server
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)
            await stack.http.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def started(stack: Stack) -> None:
    """Wait until the collector is up and the seconds to come are complete."""
    await stack.venue.subscribed.wait()
    await eventually(lambda: stack.listener.newest and not stack.listener.messages[-1].gaps)
    await eventually(lambda: stack.listener.newest not in stack.listener.missing())


async def test_trades_become_bars_on_the_bus_and_in_influxdb(
    tmp_path: Path, connections: Connections, redis: Redis, influx: InfluxClient
) -> None:
    async with Venue("BTCUSDT", "BTCEUR1", "XRPUSDT").running() as venue:
        settings = settings_for(connections, venue.url, tmp_path)
        async with collecting(venue, settings, redis) as stack:
            await started(stack)
            ts_ms = now_ms()
            second = ts_ms // 1000
            await venue.trade("BTCUSDT", ts_ms, 100.5, 2.0, True)
            await venue.trade("BTCUSDT", ts_ms, 99.5, 1.0, False)
            await venue.trade("XRPUSDT", ts_ms, 1.0, 1.0, True)
            await eventually(lambda: second in stack.listener.bars())
            expected = wire.Bar(
                second, MARKET, 100.5, 100.5, 99.5, 99.5, 201.0, 99.5, 1, 1, 0.0, 0.0
            )
            assert stack.listener.bars()[second] == expected
            assert second not in stack.listener.missing()
            # A late trade of the same second comes as an amended bar, and replaces the stored one.
            await venue.trade("BTCUSDT", second * 1000, 98.0, 1.0, False)
            await eventually(lambda: stack.listener.bars()[second].csell == 2)
            seqs = [message.seq for message in stack.listener.messages]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
            seconds = [message.second for message in stack.listener.messages]
            assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
        rows = await influx.query("SELECT * FROM aggr_1s.trades_1s")
        assert [(r["time"], r["market"]) for r in rows] == [(second, MARKET)]
        assert (rows[0]["vsell"], rows[0]["csell"], rows[0]["low"]) == (197.5, 2, 98.0)
        assert [r["market"] for r in await influx.query("SELECT * FROM markets")] == [MARKET]


async def test_http_answers(tmp_path: Path, connections: Connections, redis: Redis) -> None:
    async with Venue("BTCUSDT").running() as venue:
        settings = settings_for(connections, venue.url, tmp_path)
        async with collecting(venue, settings, redis) as stack:
            await started(stack)
            await stack.healthy()
            ts_ms = now_ms()
            await venue.trade("BTCUSDT", ts_ms, 100.0, 1.0, True)
            second = ts_ms // 1000
            await eventually(lambda: second in stack.listener.bars())
            assert await stack.get("/") == (200, {"message": "hi"})
            assert await stack.get("/products") == (200, [MARKET])
            for length_s in (1, 60):
                start = second // length_s * length_s
                path = (
                    f"/historical/{start * 1000}/{(start + 60) * 1000}/{length_s * 1000}/{MARKET}"
                )
                status, answer = await stack.get(path)
                assert (status, answer["format"]) == (200, "point")
                (row,) = answer["results"]
                named = {name: row[index] for name, index in answer["columns"].items()}
                assert (named["time"], named["market"]) == (start, MARKET)
                assert (named["open"], named["vbuy"], named["cbuy"]) == (100.0, 100.0, 1)
            nothing = await stack.get(f"/historical/{ts_ms}/{ts_ms + 1000}/1000/A:b+C:d'x")
            assert nothing == (200, {"format": "point", "columns": {}, "results": []})
            for path, problem in (
                ("/historical/x/1/1000/A:b", "missing interval"),
                ("/historical/2/1/1000/A:b", "from > to"),
                (f"/historical/1/{ts_ms}/1000/A:b", "too many bars"),
                ("/historical/1/1000/7000/A:b", "no bars of 7000 ms are stored"),
            ):
                assert await stack.get(path) == (400, {"error": problem})
            assert await stack.get("/nothing") == (404, {"error": "not found"})
            async with stack.http.get("/metrics") as response:
                assert f'aggr_trades_total{{exchange="BINANCE",market="{MARKET}"}} 1.0' in (
                    await response.text()
                )


async def test_a_broken_feed_is_a_gap_and_comes_back(
    tmp_path: Path, connections: Connections, redis: Redis, influx: InfluxClient
) -> None:
    async with Venue("BTCUSDT").running() as venue:
        venue.tells_past = False
        settings = settings_for(connections, venue.url, tmp_path)
        async with collecting(venue, settings, redis) as stack:
            await started(stack)
            await venue.drop()
            broken_s = now_ms() // 1000
            await venue.subscribed.wait()
            await eventually(lambda: stack.listener.newest > broken_s + 1)
            await started(stack)
            back_ms = now_ms()
            await venue.trade("BTCUSDT", back_ms, 1.0, 1.0, True)
            await eventually(lambda: back_ms // 1000 in stack.listener.bars())
            assert {broken_s - 1, broken_s} <= stack.listener.missing()
            assert back_ms // 1000 not in stack.listener.missing()
            assert venue.connections == 2
        rows = await influx.query("SELECT * FROM gaps")
        assert any(row["from_s"] <= broken_s < row["to_s"] for row in rows)


async def test_a_restarted_collector_records_how_long_it_was_down(
    tmp_path: Path, connections: Connections, redis: Redis, influx: InfluxClient
) -> None:
    async with Venue("BTCUSDT").running() as venue:
        venue.tells_past = False
        settings = settings_for(connections, venue.url, tmp_path)
        last_s = now_ms() // 1000 - 30
        line = f"trades_1s,market={MARKET} close=1.0 {last_s}"
        await influx.write([line], retention_policy="aggr_1s")
        async with collecting(venue, settings, redis) as stack:
            await started(stack)
            assert last_s in stack.listener.missing()
            assert stack.listener.messages[0].second - 1 in stack.listener.missing()


async def test_it_starts_without_anything_to_talk_to(
    tmp_path: Path, connections: Connections, redis: Redis
) -> None:
    venue = Venue("BTCUSDT")
    venue.down = True
    async with venue.running():
        settings = msgspec.structs.replace(
            settings_for(connections, venue.url, tmp_path), influx_port=free_port()
        )
        async with collecting(venue, settings, redis) as stack:
            await eventually(lambda: stack.listener.newest)
            status, answer = await stack.get("/health")
            assert (status, answer["status"]) == (503, "failed")
            assert "InfluxDB is away" in answer["problems"]
            assert "503" in answer["undiscovered"]["BINANCE"]
            status, answer = await stack.get(f"/historical/1/1000/1000/{MARKET}")
            assert status == 500
            assert "error" in answer
            venue.down = False
            await venue.subscribed.wait()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"aggr_symbols": ("XYZ",)}, "no dollar market for AGGR_SYMBOLS=XYZ at BINANCE"),
        ({"aggr_markets": ("BINANCE:nope",)}, "no dollar market for AGGR_MARKETS=BINANCE:nope"),
    ],
)
async def test_markets_that_do_not_exist_end_the_collector(
    tmp_path: Path, connections: Connections, more: dict[str, Any], problem: str
) -> None:
    async with Venue("BTCUSDT").running() as venue:
        settings = settings_for(connections, venue.url, tmp_path, **more)
        with pytest.RaisesGroup(
            pytest.RaisesExc(NothingToCollect, match=problem), flatten_subgroups=True
        ):
            await serve(settings, asyncio.Event())


async def test_a_port_in_use_is_named(tmp_path: Path, connections: Connections) -> None:
    async with Venue("BTCUSDT").running() as venue:
        settings = settings_for(connections, venue.url, tmp_path, port=venue.port)
        with pytest.raises(PortInUse, match=f"port {venue.port} on 127.0.0.1 is in use"):
            await serve(settings, asyncio.Event())
