"""Each second's bars, the list of markets and the sign of life into Redis."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from aggr_server import clock, wire
from aggr_server.log import kv
from aggr_server.settings import Connections
from aggr_server.throttle import Backoff, Occasionally
from aggr_server.wire import ClosedSecond, Market

QUEUE = 10
MARKETS_EVERY_S = 30.0
MARKETS_TTL_S = 120
HEARTBEAT_EVERY_S = 5.0
TIMEOUT_S = 2.0

_log = getLogger(__name__)


def redis_client(settings: Connections) -> Redis:
    """A client that gives up quickly: what is late is read back from InfluxDB anyway."""
    return Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password or None,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class Bus:
    """Sends live messages; while Redis is away they are dropped and counted.

    `markets`: the markets as they are now. `status`: the collector's state for the heartbeat.
    `part`: tells the heartbeats of several collectors apart, `-2` for the second.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        markets: Callable[[], Mapping[str, Market]],
        status: Callable[[], tuple[str, dict[str, object]]],
        part: str = "",
    ) -> None:
        self.connected = False
        self.published = 0
        self.dropped = 0
        self._redis = redis
        self._markets = markets
        self._status = status
        self._part = part
        self._queue: deque[ClosedSecond] = deque()
        self._under_way = 0
        self._news = asyncio.Event()
        self._progress = asyncio.Event()
        self._announced: float = 0.0
        self._announce_now = True
        self._beat_at = 0.0
        self._complain = Occasionally(30.0)

    async def room(self, messages: int) -> None:
        """Wait until fewer than `messages` are waiting or under way."""
        while len(self._queue) + self._under_way >= messages:
            self._progress.clear()
            await self._progress.wait()

    def publish(self, message: ClosedSecond) -> None:
        """Send as soon as possible; never waits."""
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(message)
        self._news.set()

    def announce(self) -> None:
        """The markets have changed: tell readers now."""
        self._announce_now = True
        self._news.set()

    async def run(self) -> None:
        """Send for ever."""
        backoff = Backoff(base_s=0.5, cap_s=5.0)
        task = asyncio.current_task()
        while True:
            if task is not None and task.cancelling():
                # The client waits by asyncio.wait_for, which may swallow a cancellation.
                raise asyncio.CancelledError
            await self._news.wait()
            self._news.clear()
            try:
                await self._send()
            except (RedisError, OSError) as error:
                self._on_failure(error)
                await clock.sleep(backoff.next())
                self._news.set()
            else:
                backoff.reset()
                if not self.connected:
                    _log.info("redis reached %s", kv(dropped=self.dropped))
                self.connected = True

    def _on_failure(self, error: Exception) -> None:
        self.connected = False
        self._announce_now = True
        if self._complain():
            remedy = "it is tried again for ever, readers take what they miss from InfluxDB"
            _log.warning("redis away %s", kv(error=error, remedy=remedy, dropped=self.dropped))

    async def _send(self) -> None:
        if not self.connected:
            await self._redis.ping()
        now = clock.monotonic()
        if self._announce_now or now - self._announced >= MARKETS_EVERY_S:
            await self._send_markets()
            self._announced, self._announce_now = now, False
        while self._queue:
            message = self._queue.popleft()
            message.published_ms = clock.now_ms()
            self._under_way = 1
            try:
                await self._redis.publish(wire.CHANNEL, wire.encode(message))
            except (RedisError, OSError):
                self.dropped += 1
                raise
            finally:
                self._under_way = 0
                self._progress.set()
            self.published += 1
            await self._beat(message)

    async def _send_markets(self) -> None:
        records = {name: msgspec.json.encode(m) for name, m in self._markets().items()}
        if not records:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, record in records.items():
                pipe.hset(wire.MARKETS_KEY, name, record)
            pipe.expire(wire.MARKETS_KEY, MARKETS_TTL_S)
            await pipe.execute()

    async def _beat(self, message: ClosedSecond) -> None:
        now = clock.monotonic()
        if now - self._beat_at < HEARTBEAT_EVERY_S:
            return
        self._beat_at = now
        status, details = self._status()
        record = msgspec.json.encode(
            {
                "service": f"aggr-server{self._part}",
                "ts_ms": message.published_ms,
                "pid": os.getpid(),
                "cycle_ms": details.pop("cycle_ms", 0.0),
                "status": status,
                "details": details,
            }
        )
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(wire.HEARTBEAT_KEY + self._part, record, ex=wire.HEARTBEAT_TTL_S)
            pipe.publish(wire.HEARTBEAT_CHANNEL, record)
            await pipe.execute()
