"""One round after the other: look at everything, store it, tell what must be told."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import names
from services.core.alerts import tell
from services.core.points import PointStore, line
from services.core.records import Alert, Heartbeat
from services.core.settings import SystemMonitorSettings
from services.monitor import rules
from services.monitor.checks import Checker
from services.monitor.incidents import Incidents
from services.monitor.processes import KnownProcesses
from services.monitor.states import Overview
from services.monitor.usage import Host, Source, SourceError, Usage, sample_host
from services.notify.notifier import Notifier

WAITING_ALERTS = 1000
CLEAR_S = 15.0

_log = getLogger(__name__)


class Monitor:
    """Stores `container_stats`, `host_stats` and `service_health`; raises and clears alerts."""

    def __init__(
        self,
        settings: SystemMonitorSettings,
        redis: Redis,
        influx: InfluxClient,
        checker: Checker,
        source: Source,
        notifier: Notifier | None = None,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._checker = checker
        self._source = source
        self._notifier = notifier
        self._points = PointStore(influx)
        self._incidents = Incidents(clear_s=CLEAR_S)
        self._started: set[str] = set()
        self._restored = False
        # Alerts wait here while Redis is away; each is in the log already.
        self._unsent: deque[Alert] = deque(maxlen=WAITING_ALERTS)
        self._source_error = ""

    @property
    def status(self) -> str:
        """`ok`, or what is wrong, for the heartbeat."""
        problems = [
            self._source_error,
            self._points.error and f"InfluxDB: {self._points.error}",
            self._notifier and self._notifier.problem,
        ]
        return "; ".join(problem for problem in problems if problem) or "ok"

    @property
    def open_incidents(self) -> int:
        """Incidents that were told and are not over."""
        return len(self._incidents.open)

    async def round(self) -> None:
        """Look once at everything. Redis, InfluxDB or Docker being away ends nothing."""
        await self._restore()
        overview, host, usages = await asyncio.gather(
            self._checker.check_all(),
            asyncio.to_thread(sample_host, self._settings.monitor_disk_paths),
            self._usages(),
        )
        now_ms = time.time_ns() // 1_000_000
        self._started |= {n for n, s in overview.services.items() if s.state != "down"}
        found = rules.findings(
            overview, host, self._checker.by_heartbeat, self._started, self._settings
        )
        alerts = self._incidents.update(found, now_ms / 1000)
        await self._points.write(
            [
                *(_usage_line(usage, self._source.runtime, now_ms) for usage in usages),
                *_health_lines(overview),
                _host_line(host, now_ms),
                *_disk_lines(host, now_ms),
                *(_alert_line(alert) for alert in alerts),
            ]
        )
        await self._tell(alerts)

    async def _usages(self) -> list[Usage]:
        if isinstance(self._source, KnownProcesses):
            self._source.learn(await self._pids())
        try:
            usages = await asyncio.to_thread(self._source.sample)
        except SourceError as error:
            if not self._source_error:
                _log.warning("no figures of the services %s", kv(error=error))
            self._source_error = str(error)
            return []
        self._source_error = ""
        return usages

    async def _pids(self) -> dict[str, int]:
        keys = [names.heartbeat(service) for service in self._settings.stack_services]
        try:
            values = await self._redis.mget(keys)
            beats = [msgspec.json.decode(v, type=Heartbeat) for v in values if v is not None]
        except (RedisError, msgspec.MsgspecError) as error:
            _log.debug("pids not known %s", kv(error=error))
            return {}
        return {beat.service: beat.pid for beat in beats}

    async def _restore(self) -> None:
        """Incidents told before this process started: neither tell them again nor forget them."""
        if self._restored:
            return
        try:
            stored = await self._redis.hgetall(names.INCIDENTS)
            for key, value in stored.items():
                name = key.decode() if isinstance(key, bytes) else key
                self._incidents.open[name] = msgspec.json.decode(value, type=Alert)
        except (RedisError, msgspec.MsgspecError) as error:
            _log.debug("open incidents not known %s", kv(error=error))
            return
        self._restored = True

    async def _tell(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            level = {"critical": 40, "warning": 30, "info": 20}[alert.level]
            _log.log(level, "alert %s", kv(code=alert.code, text=alert.text))
            if self._notifier is not None:
                self._notifier.tell(alert)
        self._unsent.extend(alerts)
        if not self._unsent:
            return
        try:
            while self._unsent:
                await _send(self._redis, self._unsent[0])
                self._unsent.popleft()
            if self._restored:
                await self._store_incidents()
        except RedisError as error:
            _log.warning("alerts wait for Redis %s", kv(alerts=len(self._unsent), error=error))

    async def _store_incidents(self) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(names.INCIDENTS)
            if self._incidents.open:
                pipe.hset(
                    names.INCIDENTS,
                    mapping={k: msgspec.json.encode(v) for k, v in self._incidents.open.items()},
                )
            await pipe.execute()


async def _send(redis: Redis, alert: Alert) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        tell(pipe, msgspec.json.encode(alert))
        await pipe.execute()


def _usage_line(usage: Usage, runtime: str, now_ms: int) -> str:
    limit, memory = usage.memory_limit_bytes, usage.memory_bytes
    return line(
        names.CONTAINERS_MEASUREMENT,
        {"container": usage.service, "runtime": runtime},
        {
            "state": usage.state,
            "health": usage.health,
            "restarts": usage.restarts,
            "cpu_percent": usage.cpu_percent,
            "memory_bytes": memory,
            "memory_limit_bytes": limit,
            "memory_percent": 100.0 * memory / limit if memory is not None and limit else None,
        },
        now_ms,
    )


def _health_lines(overview: Overview) -> list[str]:
    return [
        line(
            names.HEALTH_MEASUREMENT,
            {"service": name},
            {
                "state": service.state,
                "up": int(service.state != "down"),
                "age_ms": service.age_ms,
                "detail": service.detail,
            },
            overview.ts_ms,
        )
        for name, service in overview.services.items()
    ]


def _host_line(host: Host, now_ms: int) -> str:
    return line(
        names.HOST_MEASUREMENT,
        {},
        {
            "cpu_percent": host.cpu_percent,
            "memory_total_bytes": host.memory_total_bytes,
            "memory_available_bytes": host.memory_available_bytes,
            "swap_used_bytes": host.swap_used_bytes,
            "load_1m": host.load_1m,
        },
        now_ms,
    )


def _disk_lines(host: Host, now_ms: int) -> list[str]:
    return [
        line(
            names.DISK_MEASUREMENT,
            {"path": disk.path},
            {"used_percent": disk.used_percent, "free_bytes": disk.free_bytes},
            now_ms,
        )
        for disk in host.disks
    ]


def _alert_line(alert: Alert) -> str:
    return line(
        names.ALERTS_MEASUREMENT,
        {"code": alert.code, "level": alert.level},
        {"text": alert.text, "over": alert.level == "info"},
        alert.ts_ms,
    )
