"""What Redis tells beyond the heartbeats: counters, readings, incidents, trades, open interest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from logging import getLogger
from typing import TypeVar

import msgspec
from redis.asyncio import Redis

from aggr_server.log import kv
from aggr_server.throttle import Occasionally
from services.core import names
from services.core.records import Heartbeat, OpenInterestTotal
from services.monitor.incidents import Incident
from services.monitor.readings import Reading
from services.signal_validator import Reason

COUNTERS = (
    "signals_published",
    "signals_executed",
    "signals_expired",
    "errors",
    "cycles",
    *(f"signals_rejected:{reason}" for reason in Reason),
)
"""Counters of strategy-runner and of freqtrade; each begins anew after a day."""

TOTALS_EVERY_S = 30.0
"""How often Redis is searched for base symbols that are new."""

_log = getLogger(__name__)
T = TypeVar("T")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of it at `ts_ms`. Empty parts are what Redis answered, not what was not asked.

    `counters`: every one of `COUNTERS`; none counted within the day is 0. `executor`: heartbeat
    of the freqtrade that may enter trades, None if there is none. `incidents`, `readings`: of
    system-monitor, None while it is silent. `interest`: of every base symbol that has any.
    """

    ts_ms: int
    counters: dict[str, int]
    executor: Heartbeat | None
    incidents: dict[str, Incident] | None
    readings: list[Reading] | None
    interest: list[OpenInterestTotal]


class FactsReader:
    """Reads `Facts` in one go, so that they cost one way to Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._complain = Occasionally(60.0)
        self._totals: list[str] = []
        self._totals_due = 0.0

    async def read(self) -> Facts:
        """Everything as it is now. Raises `redis.exceptions.RedisError`."""
        await self._find_totals()
        executor, monitor = (names.heartbeat(s) for s in ("freqtrade", "system-monitor"))
        keys = [executor, monitor, *(names.stat(name) for name in COUNTERS), *self._totals]
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.mget(keys)
            pipe.hgetall(names.INCIDENTS)
            pipe.hgetall(names.READINGS)
            values, incidents, readings = await pipe.execute()
        counts = values[2 : 2 + len(COUNTERS)]
        told = values[1] is not None
        return Facts(
            ts_ms=time.time_ns() // 1_000_000,
            counters={name: int(count or 0) for name, count in zip(COUNTERS, counts, strict=True)},
            executor=next(self._decoded([(executor, values[0])], Heartbeat), None),
            incidents=self._incidents(incidents) if told else None,
            readings=list(self._decoded(readings.items(), Reading)) if told else None,
            interest=list(
                self._decoded(
                    zip(self._totals, values[2 + len(COUNTERS) :], strict=True), OpenInterestTotal
                )
            ),
        )

    async def _find_totals(self) -> None:
        now = time.monotonic()
        if self._totals and now < self._totals_due:
            return
        pattern = names.open_interest_total("*")
        found = [key.decode() async for key in self._redis.scan_iter(pattern, count=1000)]
        self._totals = sorted(found)
        self._totals_due = now + TOTALS_EVERY_S

    def _incidents(self, stored: dict[bytes, bytes]) -> dict[str, Incident]:
        incidents: dict[str, Incident] = {}
        for key, value in sorted(stored.items()):
            for incident in self._decoded([(key, value)], Incident):
                incidents[key.decode()] = incident
        return incidents

    def _decoded(
        self, records: Iterable[tuple[str | bytes, bytes | None]], kind: type[T]
    ) -> Iterator[T]:
        """Those that are there; one that cannot be read is left out and named in the log."""
        for key, value in records:
            if value is None:
                continue
            try:
                yield msgspec.json.decode(value, type=kind)
            except msgspec.MsgspecError as error:
                name = key.decode() if isinstance(key, bytes) else key
                if self._complain(name):
                    _log.warning("record in Redis not readable %s", kv(key=name, error=error))
