from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from redis.asyncio import Redis

from aggr_server import wire
from aggr_server.bus import QUEUE, Bus, redis_client
from aggr_server.settings import Connections
from aggr_server.wire import ClosedSecond, Market
from tests.integration.aggr_server.process import eventually
from tests.integration.servers import RedisServer

MARKETS = {"A:x": Market("A:x", "A", "BTC", "USDT", "perp")}


def second(seq: int) -> ClosedSecond:
    return ClosedSecond("aggr-1", "e", seq, 1_700_000_000 + seq, 0, None, [])


@asynccontextmanager
async def running(port: int) -> AsyncIterator[Bus]:
    async with redis_client(Connections(redis_port=port)) as client:
        bus = Bus(client, markets=lambda: MARKETS, status=lambda: ("ok", {"markets": 1}))
        task = asyncio.create_task(bus.run())
        try:
            async with asyncio.timeout(30):
                yield bus
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_seconds_arrive_in_order(redis: Redis, redis_port: int) -> None:
    async with redis.pubsub() as pubsub, running(redis_port) as bus:
        await pubsub.subscribe(wire.CHANNEL)
        await pubsub.get_message(timeout=5)
        for seq in range(1, 4):
            bus.publish(second(seq))
        messages = [await pubsub.get_message(timeout=5) for _ in range(3)]
    assert all(message is not None for message in messages)
    decoded = [wire.decode(m["data"]) for m in messages if m]
    assert [m.seq for m in decoded] == [1, 2, 3]
    assert all(m.published_ms > 0 for m in decoded)


async def test_markets_and_heartbeat_are_kept_with_an_expiry(redis: Redis, redis_port: int) -> None:
    async with running(redis_port) as bus:
        bus.publish(second(1))
        await bus.room(1)
        bus.publish(second(2))
        await bus.room(1)
    record = await redis.hget(wire.MARKETS_KEY, "A:x")
    assert record
    assert msgspec.json.decode(record, type=Market) == MARKETS["A:x"]
    assert 100 < await redis.ttl(wire.MARKETS_KEY) <= 120
    text = await redis.get(wire.HEARTBEAT_KEY)
    assert text
    beat = msgspec.json.decode(text)
    assert (beat["service"], beat["status"], beat["details"]) == (
        "aggr-server",
        "ok",
        {"markets": 1},
    )
    assert 0 < await redis.ttl(wire.HEARTBEAT_KEY) <= wire.HEARTBEAT_TTL_S


async def test_while_redis_is_away_messages_are_dropped_and_counted(
    own_redis: RedisServer,
) -> None:
    async with running(own_redis.port) as bus:
        bus.publish(second(1))
        await eventually(lambda: bus.published)
        own_redis.kill()
        for seq in range(2, 2 + 3 * QUEUE):
            bus.publish(second(seq))
        await eventually(lambda: not bus.connected)
        assert bus.dropped >= 2 * QUEUE
        own_redis.start()
        before = bus.published
        bus.publish(second(99))
        await eventually(lambda: bus.connected and bus.published > before)
        async with Redis(port=own_redis.port) as client:
            assert await client.exists(wire.MARKETS_KEY)
