"""Rules on market data, raised and cleared by a real collector in trouble and venues that fail."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services import influx_init
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.settings import InfluxSchemaSettings, SystemMonitorSettings
from services.monitor.checks import Checker
from services.monitor.measure.feeds import Bars, Collector
from services.monitor.measure.interest import OpenInterest
from services.monitor.measure.services import Services
from services.monitor.readings import Reading
from services.oi.tracker import Tracker
from services.oi.venues import VENUES, VenueClient
from tests.integration.aggr_server.process import CollectorProcess
from tests.integration.aggr_server.venue import Venue
from tests.integration.monitor.faults import Operator, changed, raises, together
from tests.integration.monitor.support import beat
from tests.integration.notify.support import eventually
from tests.integration.oi_venues import Gateway
from tests.integration.servers import InfluxServer

HOST = "fapi.binance.com"
BASES = tuple(f"C{number:02}" for number in range(20))


class Collecting:
    """A collector at work on a small exchange, and what measures it."""

    def __init__(
        self, process: CollectorProcess, venue: Venue, http: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self.venue = venue
        self.reader = Collector(process.url, lambda: http)
        self._http = http

    async def well(self) -> bool:
        """Whether it collects without a gap, and everything it has collected is stored."""
        try:
            health = await self._get("/health")
            gaps = [market["gap_open"] for market in await self._get("/markets")]
        except aiohttp.ClientError:
            return False
        stored = health["status"] == "ok" and health["spool"]["waiting_s"] <= 2
        return bool(stored and gaps and not any(gaps))

    async def has_spooled(self) -> bool:
        """Whether its file of bars is longer than what it is to be held to."""
        spool = (await self._get("/health"))["spool"]
        return bool(spool["bytes"] > 10_000)

    async def _get(self, path: str) -> Any:
        async with self._http.get(self.process.url + path) as response:
            return await response.json()

    async def refuse(self) -> None:
        self.venue.refuses = True
        await self.venue.drop()

    def accept(self) -> None:
        self.venue.refuses = False

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@asynccontextmanager
async def collecting(
    folder: Path, environ: dict[str, str], bases: Sequence[str] = ("BTC",), **more: str
) -> AsyncIterator[Collecting]:
    symbols = [f"{base}USDT" for base in bases]
    more["AGGR_SYMBOLS"] = ",".join(bases)
    async with Venue(*symbols).running() as venue, aiohttp.ClientSession() as http:
        process = CollectorProcess(venue, folder, environ | more)
        dice = random.Random(1)
        trading = [asyncio.create_task(venue.keep_trading(s, 10, dice)) for s in symbols]
        process.start()
        try:
            made = Collecting(process, venue, http)
            await eventually(made.well, timeout_s=60)
            yield made
        finally:
            for task in trading:
                task.cancel()
            with suppress(ProcessLookupError):
                made.thaw()
            process.kill()


@raises("feed_down", "gap_long")
async def test_an_exchange_that_takes_no_connections(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis
) -> None:
    path = changed(tmp_path, gap_long="above = 1\nbecause_of = []")
    async with collecting(tmp_path, connection_env) as made:
        operator = Operator({"collector": made.reader.readings}, "feed_down", "gap_long", path=path)
        await operator.shows("feed_down", "gap_long", fault=made.refuse, mend=made.accept)
    assert any("carries BINANCE:btcusdt" in alert.text for alert in operator.told)


@raises("bars_stale")
async def test_M1_a_collector_that_is_frozen(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, redis_port: int
) -> None:
    path = changed(tmp_path, bars_stale="above = 6\nclear_below = 4")
    settings = SystemMonitorSettings(redis_port=redis_port)
    streams, stop = redis_client(settings, socket_timeout_s=10.0), asyncio.Event()
    bars = Bars(streams, redis)
    listening = asyncio.create_task(bars.run(stop))
    try:
        async with collecting(tmp_path, connection_env) as made:
            operator = Operator({"bars": bars.readings}, "bars_stale", path=path)
            await operator.shows("bars_stale", fault=made.freeze, mend=made.thaw)
    finally:
        stop.set()
        await listening
        await streams.aclose()


@raises("spool_half_full", "spool_full")
async def test_bars_that_influxdb_does_not_take(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, own_influx: InfluxServer
) -> None:
    # A megabyte is the least that the spool may take: a thousandth of it comes together sooner.
    limits = {code: "above = 0.1\nclear_below = 0.06" for code in ("spool_half_full", "spool_full")}
    path = changed(tmp_path, **limits)
    environ = connection_env | {"INFLUX_PORT": str(own_influx.port)}
    create_schema(own_influx.port, connection_env["INFLUX_DATABASE"])
    async with collecting(tmp_path, environ, AGGR_SPOOL_MAX_BYTES=str(1 << 20)) as made:
        kill, start = together(2, own_influx.kill), together(2, own_influx.start)
        each = [Operator({"collector": made.reader.readings}, c, path=path) for c in limits]
        await asyncio.gather(
            *(op.shows(c, fault=kill, mend=start) for op, c in zip(each, limits, strict=True))
        )


def create_schema(port: int, database: str) -> None:
    settings = InfluxSchemaSettings(influx_port=port, influx_database=database)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=ignore)


def ignore(_: Iterable[str]) -> None:
    """What would be stored or shown."""


class SmallFiles:
    """The kernel lets a process write no file any further; what it has written stays."""

    def __init__(self, process: CollectorProcess) -> None:
        self._process = process
        self._before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)

    def begin(self) -> None:
        # Its log goes on for a while.
        size = self._process.log.stat().st_size + 3000
        limits = (size, self._before[1])
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, limits)

    def end(self) -> None:
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, self._before)


@raises("spool_unwritable", "collector_degraded")
async def test_a_collector_that_cannot_write_to_its_disk(
    tmp_path: Path,
    connection_env: dict[str, str],
    settings: SystemMonitorSettings,
    redis: Redis,
    influx: InfluxClient,
) -> None:
    async with collecting(tmp_path, connection_env, BASES) as made:
        await eventually(made.has_spooled, timeout_s=60)
        own = msgspec.structs.replace(
            settings, aggr_server_url=made.process.url, stack_services=("aggr-server",)
        )
        checker, files = Checker(own, redis, influx), SmallFiles(made.process)
        operator = Operator(
            {"collector": made.reader.readings, "services": Services(checker, ignore).readings},
            *("spool_unwritable", "collector_degraded", "service_degraded"),
        )
        try:
            await operator.shows(
                "spool_unwritable", "collector_degraded", fault=files.begin, mend=files.end
            )
        finally:
            await checker.close()


@asynccontextmanager
async def asked(gateway: Gateway) -> AsyncIterator[str]:
    """The venues' REST interfaces behind an address."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@raises("open_interest_missing")
async def test_a_venue_that_tells_no_open_interest(redis: Redis, influx: InfluxClient) -> None:
    gateway = Gateway()
    async with asked(gateway) as url:
        venue = VenueClient(VENUES["BINANCE_FUTURES"], url)
        tracker = Tracker(
            ["BTC"], [venue], redis, influx, interval_s=0, outage=Outage("Redis", "test")
        )
        reader = OpenInterest(redis)

        async def readings() -> list[Reading]:
            """After a turn of oi-tracker, whose heartbeat tells how it went."""
            await tracker.pollers[0].turn()
            await beat(redis, "oi-tracker", details=tracker.details)
            return await reader.readings()

        operator = Operator({"open-interest": readings}, "open_interest_missing", step_s=60)
        await operator.shows(
            "open_interest_missing",
            fault=lambda: gateway.failing.add(HOST),
            mend=gateway.failing.clear,
        )
        await venue.close()
    assert "no open interest of BINANCE_FUTURES" in operator.told[0].text
