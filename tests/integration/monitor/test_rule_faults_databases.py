"""Rules on Redis, InfluxDB and services, raised and cleared by real servers in trouble."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services import influx_init
from services.core.clients import redis_client
from services.core.settings import InfluxSchemaSettings, SystemMonitorSettings
from services.monitor import checks
from services.monitor.checks import Checker
from services.monitor.measure import redis as redis_measure
from services.monitor.measure.influx import InfluxServer as InfluxReader
from services.monitor.measure.redis import RedisServer as RedisReader
from services.monitor.measure.services import Services
from tests.integration.monitor.faults import Operator, changed, nothing, raises
from tests.integration.servers import InfluxServer, RedisServer

LIMIT_BYTES = 8 << 20
CLIENTS = 20


@pytest.fixture
async def client(own_redis: RedisServer) -> AsyncIterator[Redis]:
    settings = Connections(redis_port=own_redis.port)
    client = redis_client(settings, socket_timeout_s=2.0)
    yield client
    await client.aclose()


async def fill(client: Redis, share: float) -> None:
    """Store values until so much of the limit is used."""
    number = 0
    while (await client.info("memory"))["used_memory"] < share * LIMIT_BYTES:
        await client.set(f"filler:{number}", b"x" * 50_000)
        number += 1


async def limited(client: Redis, policy: str) -> None:
    await client.config_set("maxmemory-policy", policy)
    await client.config_set("maxmemory", LIMIT_BYTES)


@raises("redis_memory_high")
async def test_a_redis_that_is_nearly_full(client: Redis) -> None:
    await limited(client, "noeviction")
    operator = Operator(
        {"redis": RedisReader(client).readings}, "redis_memory_high", "redis_memory_full"
    )
    await operator.shows(
        "redis_memory_high", fault=lambda: fill(client, 0.85), mend=client.flushall
    )


@raises("redis_memory_full", "redis_evicts")
async def test_a_redis_that_throws_keys_out(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_measure, "WINDOW_S", 0.5)
    await limited(client, "allkeys-lru")

    async def overfill() -> None:
        for number in range(2 * LIMIT_BYTES // 50_000):
            await client.set(f"filler:{number}", b"x" * 50_000)

    operator = Operator(
        {"redis": RedisReader(client).readings},
        *("redis_memory_high", "redis_memory_full", "redis_evicts"),
    )
    await operator.shows("redis_memory_full", "redis_evicts", fault=overfill, mend=client.flushall)


class Crowd:
    """Connections that are held open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            self._sockets.append(socket.create_connection(("127.0.0.1", self._port), 5))

    def go(self) -> None:
        for each in self._sockets:
            each.close()


@raises("redis_clients_many")
async def test_a_redis_with_nearly_all_the_clients_it_takes(
    client: Redis, own_redis: RedisServer
) -> None:
    await client.config_set("maxclients", CLIENTS)
    crowd = Crowd(own_redis.port)
    operator = Operator(
        {"redis": RedisReader(client).readings}, "redis_clients_many", "redis_refuses"
    )
    await operator.shows("redis_clients_many", fault=lambda: crowd.come(CLIENTS - 3), mend=crowd.go)


@raises("redis_refuses")
async def test_a_redis_that_refuses_connections(
    client: Redis, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_measure, "WINDOW_S", 0.5)
    await client.config_set("maxclients", CLIENTS)
    crowd = Crowd(own_redis.port)
    operator = Operator({"redis": RedisReader(client).readings}, "redis_refuses")
    await operator.shows("redis_refuses", fault=lambda: crowd.come(CLIENTS + 5), mend=crowd.go)


@pytest.fixture
async def services(
    settings: SystemMonitorSettings, own_redis: RedisServer, client: Redis, influx: InfluxClient
) -> AsyncIterator[Services]:
    own = msgspec.structs.replace(
        settings, redis_port=own_redis.port, stack_services=("redis", "aggr-influx")
    )
    checker = Checker(own, client, influx)
    yield Services(checker, ignore)
    await checker.close()


def ignore(_: Iterable[str]) -> None:
    """The points that would be stored."""


OF_SERVICES = ("service_down", "service_not_started", "service_degraded")


@raises("service_down")
async def test_a_service_that_is_killed(services: Services, own_redis: RedisServer) -> None:
    operator = Operator({"services": services.readings}, *OF_SERVICES)
    await operator.shows("service_down", fault=own_redis.kill, mend=own_redis.start)


@raises("service_down")
async def test_M1_a_service_that_is_frozen(
    services: Services, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "TIMEOUT_S", 1.0)
    operator = Operator({"services": services.readings}, *OF_SERVICES, step_s=40)
    await operator.shows("service_down", fault=own_redis.pause, mend=own_redis.resume)


@raises("service_not_started")
async def test_a_service_that_does_not_come_up(services: Services, own_redis: RedisServer) -> None:
    own_redis.kill()
    operator = Operator({"services": services.readings}, *OF_SERVICES, step_s=100)
    await operator.shows(
        "service_not_started", fault=nothing, mend=own_redis.start, well_before=False
    )


@raises("service_degraded")
async def test_a_service_that_works_but_not_fully(services: Services, client: Redis) -> None:
    await limited(client, "noeviction")
    operator = Operator({"services": services.readings}, *OF_SERVICES)
    await operator.shows("service_degraded", fault=lambda: fill(client, 0.96), mend=client.flushall)


@raises("influx_series_many")
async def test_an_influxdb_with_too_many_series(
    influx: InfluxClient, connections: Connections, tmp_path: Path
) -> None:
    reader = InfluxReader(influx, connections.influx_database)
    path = changed(tmp_path, influx_series_many="above = 150\nclear_below = 100")
    operator = Operator({"influx": reader.readings}, "influx_series_many", path=path)
    await operator.shows(
        "influx_series_many",
        fault=lambda: influx.write([f"filler,number={n} value=1" for n in range(200)]),
        mend=lambda: asyncio.to_thread(drop, connections, "filler"),
    )


def drop(connections: Connections, measurement: str) -> None:
    settings = InfluxSchemaSettings(
        influx_port=connections.influx_port, influx_database=connections.influx_database
    )
    with influx_init.connect(settings) as client:
        client.switch_database(connections.influx_database)
        client.drop_measurement(measurement)


@pytest.fixture
async def own_client(own_influx: InfluxServer) -> AsyncIterator[InfluxClient]:
    """Of an InfluxDB that may be stopped."""
    settings = InfluxSchemaSettings(influx_port=own_influx.port, influx_database="own")
    with influx_init.connect(settings) as client:
        client.create_database("own")
    async with InfluxClient(settings, timeout_s=1.0) as client:
        yield client


@raises("influx_memory_high")
async def test_an_influxdb_that_takes_much_memory(
    own_client: InfluxClient, own_influx: InfluxServer, tmp_path: Path
) -> None:
    reader = InfluxReader(own_client, "own")
    before = {reading.name: reading.value for reading in await reader.readings()}
    limit = before["influx_memory_bytes"] + 30e6
    path = changed(tmp_path, influx_memory_high=f"above = {limit}\nclear_below = {limit - 5e6}")

    async def grow() -> None:
        """Series are kept in memory."""
        for batch in range(12):
            numbers = range(5000 * batch, 5000 * (batch + 1))
            await own_client.write([f"filler,number={n} value=1" for n in numbers])

    def start_empty() -> None:
        own_influx.kill()
        for folder in ("meta", "data", "wal"):
            shutil.rmtree(own_influx.folder / folder)
        own_influx.start()

    operator = Operator({"influx": reader.readings}, "influx_memory_high", path=path)
    await operator.shows("influx_memory_high", fault=grow, mend=start_empty)


@raises("monitor_blind")
async def test_a_source_that_cannot_be_read(
    own_client: InfluxClient, own_influx: InfluxServer
) -> None:
    reader = InfluxReader(own_client, "own")
    operator = Operator({"influx": reader.readings}, "monitor_blind", step_s=60)
    await operator.shows("monitor_blind", fault=own_influx.pause, mend=own_influx.resume)
