"""Work that is done only while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis

from services.core.channels import Channels, Handlers
from services.core.outage import Outage
from services.dashboard.audience import Audience
from services.trading.crew import CANCEL_AGAIN_S

LEAST_S = 0.2
"""Between two rounds, however often something changes."""


class Source(Protocol):
    """A block or several. A server that is away is noted by `round` itself."""

    every_s: float

    async def round(self) -> None:
        """Read and show once."""
        ...


class Attention:
    """Repeats a source's round: at once when the first viewer comes, every so often, when asked."""

    def __init__(self, audience: Audience, source: Source) -> None:
        self._audience = audience
        self._source = source
        self._wanted = asyncio.Event()

    def want(self, _: object = None) -> None:
        """Something has changed: do not wait."""
        self._wanted.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._audience.present.wait()
            self._wanted.clear()
            await self._source.round()
            await asyncio.sleep(LEAST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._source.every_s):
                    await self._wanted.wait()


class WatchedChannels:
    """Listens to channels while somebody looks, so that nobody need publish for nothing."""

    def __init__(
        self,
        audience: Audience,
        redis: Redis,
        handlers: Handlers,
        outage: Outage,
        on_subscribed: Callable[[], None],
    ) -> None:
        self._audience = audience
        self._channels = Channels(redis, handlers, outage, on_subscribed)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._audience.present.wait()
            listening = asyncio.create_task(self._channels.run())
            deserted = asyncio.create_task(self._audience.deserted())
            try:
                await asyncio.wait((listening, deserted), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end(listening, deserted)


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel until they have ended, for a library may lose a cancellation. Raises what one did."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
