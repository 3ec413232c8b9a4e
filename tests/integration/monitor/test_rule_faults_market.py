"""Rules on market data, raised and cleared by a real collector and oi-tracker in trouble."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services import influx_init
from services.core.clients import redis_client
from services.core.settings import InfluxSchemaSettings, SystemMonitorSettings
from services.monitor.checks import Checker
from services.monitor.measure.feeds import Bars, Collector
from services.monitor.measure.interest import OpenInterest
from services.monitor.measure.services import Services
from tests.integration.aggr_server.process import SYMBOL, CollectorProcess
from tests.integration.aggr_server.venue import Venue
from tests.integration.monitor.faults import Operator, changed, nothing, raises
from tests.integration.monitor.support import service_env
from tests.integration.notify.support import eventually
from tests.integration.oi_venues import Gateway
from tests.integration.servers import InfluxServer

HOST = "fapi.binance.com"


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
        """Whether it collects, and everything it has collected is stored."""
        with suppress(aiohttp.ClientError):
            async with self._http.get(f"{self.process.url}/health") as response:
                health = await response.json()
                return bool(health["status"] == "ok" and health["spool"]["waiting_s"] <= 2)
        return False

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
    folder: Path, environ: dict[str, str], prefix: Sequence[str] = (), **more: str
) -> AsyncIterator[Collecting]:
    async with Venue(SYMBOL).running() as venue, aiohttp.ClientSession() as http:
        process = CollectorProcess(venue, folder, environ | more, prefix)
        trading = asyncio.create_task(venue.keep_trading(SYMBOL, 20, random.Random(1)))
        process.start()
        try:
            made = Collecting(process, venue, http)
            await eventually(made.well, timeout_s=60)
            yield made
        finally:
            trading.cancel()
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
    path = changed(tmp_path, bars_stale="above = 4\nclear_below = 3")
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
        for code in limits:
            operator = Operator({"collector": made.reader.readings}, code, path=path)
            await operator.shows(code, fault=own_influx.kill, mend=own_influx.start)


def create_schema(port: int, database: str) -> None:
    settings = InfluxSchemaSettings(influx_port=port, influx_database=database)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=ignore)


def ignore(_: Iterable[str]) -> None:
    """What would be stored or shown."""


@raises("spool_unwritable", "collector_degraded")
async def test_a_collector_whose_disk_takes_nothing_more(
    tmp_path: Path,
    connection_env: dict[str, str],
    settings: SystemMonitorSettings,
    redis: Redis,
    influx: InfluxClient,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mount = f'mount -t tmpfs -o size=1m tmpfs "{data}" && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    async with collecting(tmp_path, connection_env, prefix) as made:
        filler = Path(f"/proc/{made.process.pid}/root{data}/filler")

        def fill() -> None:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass

        own = msgspec.structs.replace(
            settings, aggr_server_url=made.process.url, stack_services=("aggr-server",)
        )
        checker = Checker(own, redis, influx)
        operator = Operator(
            {"collector": made.reader.readings, "services": Services(checker, ignore).readings},
            *("spool_unwritable", "collector_degraded", "service_degraded"),
        )
        try:
            await operator.shows(
                "spool_unwritable", "collector_degraded", fault=fill, mend=filler.unlink
            )
        finally:
            await checker.close()


@raises("open_interest_missing")
async def test_a_venue_that_tells_no_open_interest(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis
) -> None:
    gateway = Gateway()
    gateway.failing.add(HOST)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    environ = service_env(
        connection_env,
        tmp_path,
        OI_EXCHANGES="BINANCE_FUTURES",
        OI_INTERVAL_S="5",
        AGGR_SYMBOLS="BTC",
        EXCHANGE_GATEWAY=f"http://127.0.0.1:{runner.addresses[0][1]}",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.oi_tracker", env=environ
    )
    reader = OpenInterest(redis)
    try:
        await eventually(lambda: redis.exists("squeezeflow:heartbeat:oi-tracker"), timeout_s=60)
        operator = Operator({"open-interest": reader.readings}, "open_interest_missing", step_s=60)
        await operator.shows(
            "open_interest_missing",
            fault=nothing,
            mend=gateway.failing.clear,
            well_before=False,
        )
        assert "no open interest of BINANCE_FUTURES" in operator.told[0].text
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()
