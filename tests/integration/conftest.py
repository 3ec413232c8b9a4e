"""Fixtures on a real Redis and a real InfluxDB, started once for all tests.

Every test gets an empty Redis and an InfluxDB database of its own with the schema in it. Tests
that stop, freeze or overload a server take `own_redis` or `own_influx` instead, or start one of
`tests.integration.servers` themselves.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.servers import InfluxServer, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The shared Redis, without a password. Tests must not stop it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def secured_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A second shared Redis that asks for `secured_redis.password`."""
    server = RedisServer(tmp_path_factory.mktemp("secured-redis"), "correct horse")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """The shared InfluxDB, without a login. Tests must not stop it."""
    server = InfluxServer(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test, which may kill, pause and restart it."""
    server = RedisServer(tmp_path_factory.mktemp("own-redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """An InfluxDB for one test, which may kill, pause and restart it. It has no database yet."""
    server = InfluxServer(tmp_path_factory.mktemp("own-influx"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def _emptied(redis_server: RedisServer) -> Iterator[BlockingRedis]:
    with BlockingRedis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def redis_port(redis_server: RedisServer, _emptied: BlockingRedis) -> int:
    """Port of the shared Redis, emptied for this test."""
    _emptied.flushall()
    return redis_server.port


@pytest.fixture
def redis_url(redis_port: int) -> str:
    """The same as a URL."""
    return f"redis://127.0.0.1:{redis_port}/0"


@pytest.fixture
def influx_port(influx_server: InfluxServer) -> int:
    """Port of the shared InfluxDB."""
    return influx_server.port


@pytest.fixture
def influx_database(influx_port: int) -> Iterator[str]:
    """Name of a new database with the schema, dropped at the end of the test."""
    name = f"test_{uuid.uuid4().hex}"
    settings = InfluxSchemaSettings(influx_port=influx_port, influx_database=name)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
        yield name
        client.drop_database(name)


@pytest.fixture
def connections(redis_port: int, influx_port: int, influx_database: str) -> Connections:
    """Settings that lead to this test's Redis and InfluxDB."""
    return Connections(
        redis_port=redis_port, influx_port=influx_port, influx_database=influx_database
    )


@pytest.fixture
def connection_env(connections: Connections) -> dict[str, str]:
    """The same as environment variables, for child processes."""
    return {
        "REDIS_HOST": connections.redis_host,
        "REDIS_PORT": str(connections.redis_port),
        "INFLUX_HOST": connections.influx_host,
        "INFLUX_PORT": str(connections.influx_port),
        "INFLUX_DATABASE": connections.influx_database,
    }


@pytest.fixture
async def redis(redis_port: int) -> AsyncIterator[Redis]:
    """An asynchronous client of the emptied Redis; it answers bytes."""
    async with Redis(port=redis_port) as client:
        yield client


@pytest.fixture
async def influx(connections: Connections) -> AsyncIterator[InfluxClient]:
    """An asynchronous client of this test's InfluxDB database."""
    async with InfluxClient(connections) as client:
        yield client
