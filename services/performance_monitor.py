"""How strategy-runner is doing, from what it measures itself and from the signals it stored.

python -c "from services.performance_monitor import PerformanceMonitor
print(PerformanceMonitor().get_performance_analytics())"
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis

from aggr_server.env import load
from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import names
from services.core.clients import redis_client
from services.core.records import Heartbeat, Signal
from services.core.settings import ServiceSettings
from services.influx_signal_manager import read_entries
from services.signal_statistics import analyse, spread

SERVICE = "strategy-runner"
HOUR_MS = 3_600_000
MEASURED = {"count", "median", "p99", "max"}
"""What a figure of the heartbeat's details has that is a spread of measurements."""

_log = getLogger(__name__)


class PerformanceMonitor:
    """Reads Redis and InfluxDB; writes nothing."""

    def __init__(self, settings: ServiceSettings | None = None) -> None:
        self._settings = settings or load(ServiceSettings)

    def get_performance_analytics(self, hours: int = 24) -> dict[str, Any]:
        """Figures of the loop, of each stage, of signals' latency, counters, and results.

        `cycle`: the newest sign of life of strategy-runner with its own figures, None without one;
        `replicas`: the same of every process, by name. `stages`: spread of each duration that the
        process measures, in ms, by name. `signal_latency`: spreads in ms of the last day's signals,
        from the end of the deciding second, from the bar's publication, and to the fill.
        `counters`: of the day. `signals`: see `signal_statistics.analyse`, of the last `hours`.
        Raises `RedisError`, `InfluxError`, `InfluxUnavailable`.
        """
        return asyncio.run(self.read(hours))

    async def read(self, hours: int = 24) -> dict[str, Any]:
        """The same inside an event loop."""
        now_ms = time.time_ns() // 1_000_000
        redis = redis_client(self._settings)
        try:
            replicas = await _replicas(redis)
            published = await _published(redis)
            async with InfluxClient(self._settings) as influx:
                rows = await read_entries(influx, now_ms - hours * HOUR_MS, now_ms + HOUR_MS)
            newest = max(replicas.values(), key=lambda found: found["ts_ms"], default=None)
            return {
                "cycle": newest,
                "replicas": replicas,
                "stages": _stages(newest or {}),
                "signal_latency": {**_latency(published), "filled_after_ms": spread(_fills(rows))},
                "counters": await _counters(redis),
                "signals": analyse(rows),
            }
        finally:
            await redis.aclose()


async def _replicas(redis: Redis) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    prefix = names.heartbeat(SERVICE)
    for key in sorted([key async for key in redis.scan_iter(prefix + "*", count=1000)]):
        raw = await redis.get(key)
        if raw is None:
            continue
        beat = msgspec.json.decode(raw, type=Heartbeat)
        found[key.decode().removeprefix(names.heartbeat(""))] = {
            **beat.details,
            "ts_ms": beat.ts_ms,
            "pid": beat.pid,
            "status": beat.status,
            "last_cycle_ms": beat.cycle_ms,
        }
    return found


def _stages(details: dict[str, Any]) -> dict[str, dict[str, float]]:
    stages: dict[str, dict[str, float]] = {}
    for name, value in details.items():
        if not isinstance(value, dict):
            continue
        if value.keys() >= MEASURED:
            stages[name.removesuffix("_ms")] = value
        else:  # several under one name, as `stages_ms`
            stages.update(_stages(value))
    return stages


async def _published(redis: Redis) -> list[Signal]:
    found: list[Signal] = []
    async for key in redis.scan_iter(names.history("*"), count=1000):
        for raw in await redis.lrange(key, 0, -1):
            try:
                found.append(msgspec.json.decode(raw, type=Signal))
            except msgspec.MsgspecError as error:
                _log.warning("signal not readable %s", kv(key=key.decode(), error=error))
    return [signal for signal in found if signal.event != "CANCEL"]


def _latency(signals: Iterable[Signal]) -> dict[str, dict[str, float]]:
    """`decided`: after the second's end; `published`: after the bar's own publication."""
    decided, published = [], []
    for signal in signals:
        if end_ms := signal.cvd.get("ts_ms"):
            decided.append(float(signal.ts_ms - end_ms))
        if signal.bar_published_ms:
            published.append(float(signal.refreshed_ms - signal.bar_published_ms))
    return {"decided_after_ms": spread(decided), "published_after_ms": spread(published)}


def _fills(rows: Iterable[dict[str, Any]]) -> list[float]:
    """Decision to fill, ms."""
    return [
        datetime.fromisoformat(row["fill_time"]).timestamp() * 1000 - row["ts_ms"]
        for row in rows
        if row.get("fill_time")
    ]


async def _counters(redis: Redis) -> dict[str, int]:
    prefix = names.stat("")
    keys = sorted([key.decode() async for key in redis.scan_iter(prefix + "*", count=1000)])
    values = await redis.mget(keys) if keys else []
    return {
        key.removeprefix(prefix): int(value)
        for key, value in zip(keys, values, strict=True)
        if value is not None
    }
