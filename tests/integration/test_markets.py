"""The directory of markets, out of Redis and InfluxDB."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import market_line
from aggr_server.settings import Connections
from aggr_server.wire import MARKETS_KEY, Market
from services.core.outage import Outage
from services.market import markets
from services.market.markets import Directory
from tests.integration.servers import free_port

NOW_S = int(time.time())
BTC = Market("A:btc", "A", "BTC", "USDT", "spot")
ETH = Market("A:eth", "A", "ETH", "USDT", "perp")
MORE_ETH = Market("B:eth", "B", "ETH", "USDC", "perp")


@pytest.fixture
async def nothing() -> AsyncIterator[tuple[Redis, InfluxClient]]:
    """Servers that are away."""
    settings = Connections(influx_port=free_port())
    async with Redis(port=free_port()) as redis, InfluxClient(settings) as influx:
        yield redis, influx


async def list_now(redis: Redis, market: Market) -> None:
    await redis.hset(MARKETS_KEY, market.market, msgspec.json.encode(market))


async def refresh(directory: Directory, redis: Redis, influx: InfluxClient) -> int:
    return await markets.refresh(
        directory,
        redis,
        influx,
        redis_outage=Outage("Redis", "r"),
        influx_outage=Outage("InfluxDB", "i"),
    )


def names(directory: Directory) -> list[str]:
    return [m.market for base in ("BTC", "ETH") for m in directory.of_base(base)]


async def test_what_was_recorded_completes_what_is_listed(
    redis: Redis, influx: InfluxClient
) -> None:
    directory = Directory(["BTC", "ETH"])
    assert await refresh(directory, redis, influx) == 0
    assert not directory.started
    await list_now(redis, BTC)
    assert await refresh(directory, redis, influx) == 1
    assert directory.started
    assert not directory.complete
    await influx.write([market_line(ETH, NOW_S)])
    assert await refresh(directory, redis, influx) == 1
    assert directory.complete
    # Those of a collector that is gone are of no interest once each base has its markets.
    await influx.write([market_line(MORE_ETH, NOW_S)])
    assert await refresh(directory, redis, influx) == 0
    assert names(directory) == ["A:btc", "A:eth"]


async def test_without_redis_the_recorded_markets_are_known_and_the_other_way_round(
    redis: Redis,
    influx: InfluxClient,
    nothing: tuple[Redis, InfluxClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    no_redis, no_influx = nothing
    await list_now(redis, BTC)
    await influx.write([market_line(ETH, NOW_S)])
    recorded, listed = Directory(["BTC", "ETH"]), Directory(["BTC", "ETH"])
    assert await refresh(recorded, no_redis, influx) == 1
    assert await refresh(listed, redis, no_influx) == 1
    assert (names(recorded), names(listed)) == (["A:eth"], ["A:btc"])
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.split()[0] for text in told] == ["Redis", "InfluxDB"]


async def test_a_record_that_cannot_be_read_is_named_and_leaves_the_others(
    redis: Redis, influx: InfluxClient, caplog: pytest.LogCaptureFixture
) -> None:
    await list_now(redis, BTC)
    await redis.hset(MARKETS_KEY, "X:broken", "{")
    line = f'markets,market=Y:broken base="ETH",quote="USDT",kind="unheard of" {NOW_S}'
    await influx.write([line])
    directory = Directory(["BTC", "ETH"])
    assert await refresh(directory, redis, influx) == 1
    assert names(directory) == ["A:btc"]
    for market in ("X:broken", "Y:broken"):
        assert any(market in record.getMessage() for record in caplog.records)
