"""oi-tracker against venues behind a gateway, a real Redis and a real InfluxDB."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services import influx_init
from services.core import names
from services.core.records import OpenInterest
from services.core.settings import InfluxSchemaSettings
from services.oi.tracker import Tracker
from services.oi.venues import VENUES, VenueClient
from tests.integration.servers import ROOT, InfluxServer, free_port

DAY_MS = 86_400_000


class Venues:
    """A gateway that answers as the three venues do; `failing` names hosts that do not."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """One REST answer."""
        host, _, path = request.path.lstrip("/").partition("/")
        self.requests.append(f"{host}/{path}")
        if host in self.failing:
            return web.json_response({"msg": "maintenance"}, status=503)
        return web.json_response(self._body(path, request.query))

    def _body(self, path: str, query: Any) -> dict[str, Any]:
        now = time.time_ns() // 1_000_000
        symbol = query.get("symbol", query.get("instId", ""))
        scale = 10 if symbol.startswith("ETH") else 1
        if path == "fapi/v1/openInterest":
            return {"symbol": symbol, "openInterest": str(100.0 * scale), "time": now}
        if path == "fapi/v1/premiumIndex":
            return {"symbol": symbol, "markPrice": str(50_000.0 / scale), "time": now}
        if path == "v5/market/tickers":
            row = {"symbol": symbol, "openInterest": str(400.0 * scale)}
            rows = [{**row, "markPrice": str(50_000.0 / scale)}]
            return {"retCode": 0, "result": {"list": rows}, "time": now}
        if path == "api/v5/public/open-interest":
            row = {"instId": symbol, "oi": "30000", "oiCcy": str(300.0 * scale), "ts": str(now)}
            return {"code": "0", "data": [{**row, "oiUsd": str(15_000_000.0)}], "msg": ""}
        raise AssertionError(f"unexpected request: {path}")


@pytest.fixture
async def venues() -> AsyncIterator[tuple[Venues, str]]:
    answers = Venues()
    application = web.Application()
    application.router.add_get("/{path:.*}", answers.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield answers, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def tracker(
    venues: tuple[Venues, str], redis: Redis, influx: InfluxClient
) -> AsyncIterator[Tracker]:
    clients = [VenueClient(venue, venues[1]) for venue in VENUES.values()]
    yield Tracker(("BTC", "ETH"), clients, redis, influx)
    for client in clients:
        await client.close()


async def points(influx: InfluxClient, symbol: str = "BTCUSDT") -> dict[str, dict[str, Any]]:
    rows = await influx.query(f"SELECT * FROM open_interest WHERE symbol = '{symbol}'")
    return {row["exchange"]: row for row in rows}


async def test_O2_every_venue_is_stored_one_sided_and_published(
    tracker: Tracker, redis: Redis, influx: InfluxClient
) -> None:
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.OI_CHANNEL)
        await tracker.round()
        announced: list[OpenInterest] = []
        while len(announced) < 6:
            message = await subscriber.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                announced.append(msgspec.json.decode(message["data"], type=OpenInterest))
    assert tracker.status == "ok"
    stored = await points(influx)
    coins = {name: row["coins"] for name, row in stored.items()}
    assert coins == {"BINANCE_FUTURES": 100, "BYBIT": 200, "OKX": 300, "FUTURES_AGG": 600}
    assert stored["BYBIT"]["raw"] == 400
    assert stored["BYBIT"]["open_interest"] == 200 * 50_000
    assert stored["OKX"]["unit"] == "contracts"
    assert stored["FUTURES_AGG"]["open_interest"] == 600 * 50_000
    assert stored["FUTURES_AGG"]["aggregate_type"] == "FUTURES_AGG"
    assert stored["FUTURES_AGG"]["venues"] == "BINANCE_FUTURES,BYBIT,OKX"
    assert {row.get("oi_change_24h") for row in stored.values()} <= {None}
    assert (await points(influx, "ETHUSDT"))["OKX"]["coins"] == 3000

    table = await redis.hgetall(names.open_interest("BTC"))
    samples = [msgspec.json.decode(value, type=OpenInterest) for value in table.values()]
    published = {sample.exchange: sample for sample in samples}
    assert len(published) == len(table)
    assert {name: sample.coins for name, sample in published.items()} == {
        "BINANCE_FUTURES": 100,
        "BYBIT": 200,
        "OKX": 300,
    }
    assert sorted(s.exchange for s in announced if s.base == "BTC") == sorted(published)


async def test_O1_one_failing_venue_neither_stops_the_others_nor_moves_the_sum(
    tracker: Tracker, venues: tuple[Venues, str], influx: InfluxClient
) -> None:
    await tracker.round()
    venues[0].failing.add("api.bybit.com")
    await tracker.round()
    assert "BYBIT" in tracker.status
    rows = await influx.query("SELECT * FROM open_interest WHERE exchange='FUTURES_AGG'")
    sums = [row for row in rows if row["symbol"] == "BTCUSDT"]
    assert [row["coins"] for row in sums] == [600, 600]
    assert sums[-1]["carried"] == "BYBIT"
    counts = await influx.query("SELECT count(coins) AS n FROM open_interest GROUP BY exchange")
    assert {row["exchange"]: row["n"] for row in counts}["BINANCE_FUTURES"] == 4
    venues[0].failing.clear()
    await tracker.round()
    assert tracker.status == "ok"


async def test_O1_a_venue_that_never_answered_makes_the_sum_partial(
    tracker: Tracker, venues: tuple[Venues, str], influx: InfluxClient, redis: Redis
) -> None:
    venues[0].failing.add("www.okx.com")
    await tracker.round()
    total = (await points(influx))["FUTURES_AGG"]
    assert total.get("open_interest") is None
    assert total["partial_open_interest"] == 300 * 50_000
    assert total["missing"] == "OKX"
    assert b"OKX" not in await redis.hgetall(names.open_interest("BTC"))


async def test_change_over_a_day_comes_from_the_stored_history(
    tracker: Tracker, influx: InfluxClient
) -> None:
    then = time.time_ns() // 1_000_000 - DAY_MS - 60_000
    await influx.write(
        [
            "open_interest,symbol=BTCUSDT,exchange=BINANCE_FUTURES,aggregate_type=exchange "
            f"coins=80 {then}",
            f"open_interest,symbol=BTCUSDT,exchange=BYBIT,aggregate_type=exchange coins=160 {then}",
            # Too old to stand for yesterday's value.
            "open_interest,symbol=BTCUSDT,exchange=OKX,aggregate_type=exchange "
            f"coins=1 {then - 3_600_000}",
        ],
        precision="ms",
    )
    await tracker.round()
    rows = await influx.query("SELECT * FROM open_interest WHERE oi_change_24h > 0")
    changes = {row["exchange"]: row for row in rows}
    assert changes.keys() == {"BINANCE_FUTURES", "BYBIT", "FUTURES_AGG"}
    assert changes["BINANCE_FUTURES"]["oi_change_24h"] == pytest.approx(0.25)
    assert changes["BINANCE_FUTURES"]["oi_change_pct"] == pytest.approx(25)
    assert changes["FUTURES_AGG"]["oi_change_24h"] == pytest.approx(0.25)


async def test_points_taken_while_influx_is_away_arrive_later(
    venues: tuple[Venues, str], redis: Redis, own_influx: InfluxServer
) -> None:
    settings = InfluxSchemaSettings(influx_port=own_influx.port)
    with influx_init.connect(settings) as blocking:
        influx_init.apply_schema(blocking, settings, report=lambda _: None)
    client = VenueClient(VENUES["OKX"], venues[1])
    async with InfluxClient(settings) as influx:
        tracker = Tracker(("BTC",), [client], redis, influx)
        own_influx.kill()
        await tracker.round()
        assert "InfluxDB" in tracker.status
        assert await redis.hexists(names.open_interest("BTC"), "OKX")
        own_influx.start()
        await tracker.round()
        assert tracker.status == "ok"
        rows = await influx.query("SELECT coins FROM open_interest WHERE exchange = 'OKX'")
    await client.close()
    assert len(rows) == 2


def tracker_env(connection_env: dict[str, str], **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server",
        **connection_env,
        **more,
    }


async def test_the_service_samples_beats_and_ends_in_good_order(
    venues: tuple[Venues, str],
    connection_env: dict[str, str],
    redis: Redis,
    tmp_path: Path,
) -> None:
    environ = tracker_env(
        connection_env, HEARTBEAT_DIR=str(tmp_path), EXCHANGE_GATEWAY=venues[1], AGGR_SYMBOLS="BTC"
    )
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.OI_CHANNEL)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.oi_tracker", env=environ
        )
        try:
            async with asyncio.timeout(40):
                async for message in subscriber.listen():
                    if message["type"] == "message":
                        break
            assert await redis.exists(names.heartbeat("oi-tracker"))
            assert (tmp_path / "oi-tracker.alive").exists()
        finally:
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("name", "value"), [("OI_EXCHANGES", "BYBIT,NOWHERE"), ("AGGR_SYMBOLS", "BTC,eth!")]
)
def test_an_unknown_venue_or_symbol_is_one_clear_line(
    name: str, value: str, connection_env: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.oi_tracker"],
        env=tracker_env(connection_env, **{name: value}),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 78
    problems = [line for line in done.stderr.splitlines() if "level=INFO" not in line]
    assert len(problems) == 1, done.stderr
    assert name in problems[0]
    assert ".env" in problems[0]
