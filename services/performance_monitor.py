"""How strategy-runner is doing, from what it measures itself and from the signals it stored.

python -c "from services.performance_monitor import PerformanceMonitor
print(PerformanceMonitor().get_performance_analytics())"
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
from redis.asyncio import Redis

from aggr_server.env import load
from aggr_server.influx import InfluxClient
from services.core import names
from services.core.clients import redis_client
from services.core.records import Heartbeat
from services.core.settings import ServiceSettings

SERVICE = "strategy-runner"


class PerformanceMonitor:
    """Reads Redis and InfluxDB; writes nothing."""

    def __init__(self, settings: ServiceSettings | None = None) -> None:
        self._settings = settings or load(ServiceSettings)

    def get_performance_analytics(self, hours: int = 24) -> dict[str, Any]:
        """Figures of the loop, today's counters, and the outcomes of the last `hours`.

        `cycle` is None if strategy-runner gives no sign of life. `win_rate` and the averages are
        None without closed trades. Raises `RedisError`, `InfluxError`, `InfluxUnavailable`.
        """
        return asyncio.run(self.read(hours))

    async def read(self, hours: int = 24) -> dict[str, Any]:
        """The same inside an event loop."""
        redis = redis_client(self._settings)
        try:
            async with InfluxClient(self._settings) as influx:
                return {
                    "cycle": await _cycle(redis),
                    "counters": await _counters(redis),
                    "signals": await _signals(influx, hours),
                }
        finally:
            await redis.aclose()


async def _cycle(redis: Redis) -> dict[str, Any] | None:
    raw = await redis.get(names.heartbeat(SERVICE))
    if raw is None:
        return None
    heartbeat = msgspec.json.decode(raw, type=Heartbeat)
    return {"ts_ms": heartbeat.ts_ms, "status": heartbeat.status, **heartbeat.details}


async def _counters(redis: Redis) -> dict[str, int]:
    prefix = names.stat("")
    keys = sorted([key.decode() async for key in redis.scan_iter(prefix + "*")])
    values = await redis.mget(keys) if keys else []
    return {
        key.removeprefix(prefix): int(value)
        for key, value in zip(keys, values, strict=True)
        if value is not None
    }


async def _signals(influx: InfluxClient, hours: int) -> dict[str, Any]:
    rows = await influx.query(
        f'SELECT "outcome", "pnl", "score" FROM "{names.SIGNALS_MEASUREMENT}" '
        f"WHERE action != 'CLOSE' AND time > now() - {hours}h"
    )
    outcomes = Counter(row["outcome"] for row in rows)
    results = [row["pnl"] for row in rows if row["pnl"] is not None]
    return {
        "total": len(rows),
        "outcomes": dict(outcomes),
        "win_rate": outcomes["profitable"] / len(results) if results else None,
        "pnl_sum": sum(results),
        "pnl_average": sum(results) / len(results) if results else None,
        "score_average": sum(row["score"] for row in rows) / len(rows) if rows else None,
    }
