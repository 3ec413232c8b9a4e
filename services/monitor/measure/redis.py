"""Redis: memory, keys thrown out, clients."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

EVERY_S = 5.0
SUBJECT = "redis"
WINDOW_S = 60.0

Info = Mapping[str, Any]


class LastMinute:
    """By how much a counter has grown within a minute."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def growth(self, count: int, now_s: float) -> int:
        """Take note of the counter. One that has shrunk was begun anew. `now_s`: monotonic."""
        if self._counts and count < self._counts[-1][1]:
            self._counts.clear()
            self._counts.append((now_s, 0))
        self._counts.append((now_s, count))
        while len(self._counts) > 1 and self._counts[1][0] <= now_s - WINDOW_S:
            self._counts.popleft()
        return count - self._counts[0][1]


class RedisServer:
    """Reads `INFO`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._evicted = LastMinute()
        self._rejected = LastMinute()

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            info: Info = await self._redis.info()
        except RedisError as error:
            raise Unreadable(str(error) or type(error).__name__) from error
        now_s = time.monotonic()
        return [
            *shares(info),
            Reading(
                name="redis_evicted_per_min",
                subject=SUBJECT,
                value=float(self._evicted.growth(int(info["evicted_keys"]), now_s)),
            ),
            Reading(
                name="redis_rejected_per_min",
                subject=SUBJECT,
                value=float(self._rejected.growth(int(info["rejected_connections"]), now_s)),
            ),
        ]


def shares(info: Info) -> list[Reading]:
    """Memory and clients as percent of their limits; absent where there is none."""
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    found = []
    if limit:
        found.append(
            Reading(
                name="redis_memory_percent",
                subject=SUBJECT,
                value=100.0 * used / limit,
                detail=f"{used / 1e6:.0f} of {limit / 1e6:.0f} MB",
            )
        )
    clients, most = int(info["connected_clients"]), int(info.get("maxclients", 0))
    if most:
        found.append(
            Reading(
                name="redis_clients_percent",
                subject=SUBJECT,
                value=100.0 * clients / most,
                detail=f"{clients} of {most}",
            )
        )
    return found
