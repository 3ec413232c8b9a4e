from __future__ import annotations

import asyncio
from typing import Any

from aggr_server.bus import Bus
from aggr_server.wire import ClosedSecond


class SwallowingRedis:
    """A client that completes when it is cancelled, as one that uses `wait_for` may."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def ping(self) -> None:
        """Answer at once."""

    async def publish(self, *_: Any) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return


async def test_it_ends_when_cancelled_even_if_the_client_swallows_that() -> None:
    redis = SwallowingRedis()
    bus = Bus(redis, markets=dict, status=lambda: ("ok", {}))  # type: ignore[arg-type]
    bus._beat_at = float("inf")
    task = asyncio.create_task(bus.run())
    bus.publish(ClosedSecond("aggr-1", "e", 1, 100, 0, None, []))
    await redis.asked.wait()
    task.cancel()
    async with asyncio.timeout(5.0):
        await asyncio.wait([task])
    assert task.cancelled()
