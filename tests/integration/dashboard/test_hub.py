"""Which markets count, and whose prices are shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import CHANNEL, MARKETS_KEY
from services.core.outage import Outage
from services.dashboard.hub import Hub
from tests.bench.paging.market import Coin, markets
from tests.integration.dashboard.rig import Feed, eventually, heard, now_s, sums

KNOWN = {market.market: market for market in markets("BTC")}


@pytest.fixture
async def listening(connections: Connections) -> AsyncIterator[Redis]:
    async with Redis(port=connections.redis_port) as client:
        yield client


@asynccontextmanager
async def running(
    redis: Redis, listening: Redis, influx: InfluxClient, exchange: str
) -> AsyncIterator[Hub]:
    hub = Hub(
        redis,
        listening,
        influx,
        ["BTC"],
        exchange,
        redis_outage=Outage("Redis", ""),
        influx_outage=Outage("InfluxDB", ""),
    )
    tasks = [asyncio.create_task(part()) for part in hub.parts()]
    try:
        yield hub
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def list_markets(redis: Redis, *names: str) -> None:
    for name in names:
        await redis.hset(MARKETS_KEY, name, msgspec.json.encode(KNOWN[name]))


async def test_bars_of_a_market_listed_later_are_read_back(
    feed: Feed, listening: Redis, redis: Redis, influx: InfluxClient
) -> None:
    late = "BYBIT:btcusdt"
    await list_markets(redis, *(name for name in KNOWN if name != late))
    async with running(redis, listening, influx, "BINANCE_FUTURES") as hub:
        btc = hub.symbols["BTCUSDT"]
        await eventually(lambda: bool(btc.reference))
        await heard(redis, CHANNEL, 1)
        coin, t = Coin("BTC", 1), now_s()
        bars = coin.second(t)
        while late not in {bar.market for bar in bars}:
            bars = coin.second(t)
        await feed.write(bars)
        await feed.publish(t, bars)
        known = sums(bar for bar in bars if bar.market != late)["perp"]
        await eventually(lambda: btc.ring.end > t and btc.ring.at(t)[5] == pytest.approx(known))

        await list_markets(redis, late)

        await eventually(lambda: bool(btc.ring.at(t)[5] == pytest.approx(sums(bars)["perp"])))


async def test_where_the_execution_exchange_lists_none_the_busiest_perpetual_is_shown(
    feed: Feed, listening: Redis, redis: Redis, influx: InfluxClient
) -> None:
    await list_markets(redis, *KNOWN)
    bars = [
        msgspec.structs.replace(bar, vbuy=1e9) if bar.market == "OKEX:btcusdt" else bar
        for t in range(now_s() - 300, now_s() - 200)
        for bar in Coin("BTC", t).second(t)
    ]
    await feed.write(bars)
    async with running(redis, listening, influx, "KUCOIN_FUTURES") as hub:
        btc = hub.symbols["BTCUSDT"]
        await eventually(lambda: btc.reference == "OKEX:btcusdt")
        closes = {bar.time: bar.close for bar in bars if bar.market == btc.reference}
        newest = max(closes)
        await eventually(lambda: btc.ring.close_at(newest) == (closes[newest], newest))
