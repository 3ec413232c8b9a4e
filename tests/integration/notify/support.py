"""What the tests of messages share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.asyncio import Redis

from services.core import names
from services.core.alerts import told
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.records import Alert, Fill
from services.core.settings import SystemMonitorSettings
from services.core.transaction import transact
from services.notify import channels
from services.notify.inbox import STREAMS
from services.notify.notifier import Notifier
from tests.waiting import within

eventually = within(15.0)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fill(number: int, **changes: Any) -> Fill:
    """The entry of trade `number`."""
    values: dict[str, Any] = {
        "event": "opened",
        "signal_id": f"signal-{number}",
        "symbol": f"C{number}USDT",
        "pair": f"C{number}/USDT:USDT",
        "side": "long",
        "ts_ms": now_ms(),
        "trade_id": number,
        "price": 100.0,
        "amount": 1.0,
        "stake": 33.3,
        "leverage": 3.0,
    }
    return Fill(**{**values, **changes})


def title(number: int) -> str:
    """That of its message."""
    return f"LONG C{number}USDT opened"


async def report(redis: Redis, *fills: Fill) -> None:
    """What the executor does with fills."""
    async with redis.pipeline(transaction=True) as pipe:
        for each in fills:
            pipe.xadd(names.FILLS_STREAM, {"data": msgspec.json.encode(each)})
        await pipe.execute()


async def alarm(redis: Redis, alert: Alert) -> None:
    """What every service does with an alert."""
    await transact(redis, told(msgspec.json.encode(alert)))


async def unacknowledged(redis: Redis) -> int:
    """Entries handed to a channel that it has not told."""
    count = 0
    for stream in STREAMS:
        if await redis.exists(stream):
            count += sum([group["pending"] for group in await redis.xinfo_groups(stream)])
    return count


async def all_read(redis: Redis) -> bool:
    """Whether every channel, and there is one, was handed every entry."""
    for stream in STREAMS:
        if not await redis.exists(stream):
            return False
        last = (await redis.xinfo_stream(stream))["last-generated-id"]
        positions = {group["last-delivered-id"] for group in await redis.xinfo_groups(stream)}
        # The position of a new group is a time, which may be past the last entry.
        if not positions or min(map(_id, positions)) < _id(last):
            return False
    return True


def _id(raw: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in raw.split(b"-"))


async def settled(redis: Redis) -> None:
    """Wait until everything is read, told and acknowledged."""

    async def done() -> bool:
        return await all_read(redis) and await unacknowledged(redis) == 0

    await eventually(done)


@asynccontextmanager
async def notifying(port: int, *urls: str, **changes: Any) -> AsyncIterator[Notifier]:
    """A notifier at work; stopped in good order at the end."""
    settings = SystemMonitorSettings(redis_port=port, notify_urls="\n".join(urls), **changes)
    client = redis_client(settings, socket_timeout_s=10.0)
    ways = channels.load(settings.notify_urls)
    notifier, stop = Notifier(settings, client, ways, Outage("Redis", "test")), asyncio.Event()
    running = asyncio.create_task(notifier.run(stop))
    try:
        yield notifier
    finally:
        stop.set()
        async with asyncio.timeout(15):
            await running
        await client.aclose()
