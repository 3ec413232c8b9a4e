"""Listens to Redis channels, for ever, whatever happens to Redis meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from services.core.outage import Outage

PING_AFTER_S = 3.0
RETRY_S = 0.1
RETRY_CAP_S = 5.0

Handlers = Mapping[str, Callable[[bytes], None]]


class Channels:
    """Hands each message to the handler of its channel.

    `subscribed`: all channels are. `on_subscribed` is called each time they are anew: what was
    published before is not known. `on_lost`: from now on nothing is heard.
    """

    def __init__(
        self,
        redis: Redis,
        handlers: Handlers,
        outage: Outage,
        on_subscribed: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._handlers = {name.encode(): handler for name, handler in handlers.items()}
        self._outage = outage
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self.subscribed = False

    async def run(self) -> None:
        """Listen until cancelled."""
        delay_s = RETRY_S
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.failed(error)
            finally:
                heard, self.subscribed = self.subscribed, False
            if heard:
                self._on_lost()
            delay_s = RETRY_S if heard else min(RETRY_CAP_S, delay_s * 2)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))

    async def _listen(self) -> None:
        waiting = set(self._handlers)
        async with self._redis.pubsub(ignore_subscribe_messages=False) as pubsub:
            await pubsub.subscribe(*(name.decode() for name in self._handlers))
            pinged = False
            while True:
                message = await pubsub.get_message(timeout=PING_AFTER_S)
                if message is None:
                    if pinged:
                        raise RedisConnectionError("no answer to a ping")
                    pinged = True
                    async with asyncio.timeout(PING_AFTER_S):
                        await pubsub.ping()
                    continue
                pinged = False
                if message["type"] == "message":
                    self._handlers[message["channel"]](message["data"])
                elif message["type"] == "subscribe" and waiting:
                    waiting.discard(message["channel"])
                    if not waiting:
                        self.subscribed = True
                        self._outage.over()
                        self._on_subscribed()
