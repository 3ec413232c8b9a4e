"""One round after the other: ask every venue, store, publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from services.core.points import PointStore
from services.core.records import OpenInterest
from services.oi import store
from services.oi.aggregate import aggregate, change
from services.oi.venues import VenueError

REPEAT_WARNING_S = 600.0
ROUND_TIMEOUT_S = 60.0
STALE_S = 900.0

_log = getLogger(__name__)


class Source(Protocol):
    """Where samples come from; `VenueClient` is one."""

    name: str

    async def fetch(self, base: str) -> OpenInterest | None:
        """Newest open interest, None if not listed. Raises `VenueError`."""
        ...


class Tracker:
    """Keeps the newest value of every venue and base. A failing venue does not stop the others."""

    def __init__(
        self, bases: Sequence[str], sources: Sequence[Source], redis: Redis, influx: InfluxClient
    ) -> None:
        self._bases = tuple(bases)
        self._sources = tuple(sources)
        self._redis = redis
        self._influx = influx
        self._points = PointStore(influx)
        self._latest: dict[str, dict[str, OpenInterest]] = {base: {} for base in bases}
        self._not_listed: set[tuple[str, str]] = set()
        self._warned: dict[str, float] = {}
        self.failing: dict[str, str] = {}
        self.samples = 0

    @property
    def status(self) -> str:
        """`ok`, or what is wrong, for the heartbeat."""
        problems = [f"{name}: {reason}" for name, reason in sorted(self.failing.items())]
        if self._points.error:
            problems.append(f"InfluxDB: {self._points.error}")
        return "; ".join(problems) or "ok"

    async def round(self) -> None:
        """Sample every venue once. Redis or InfluxDB being away ends nothing."""
        tasks = [self._ask(source) for source in self._sources]
        fresh = [sample for samples in await asyncio.gather(*tasks) for sample in samples]
        self.samples += len(fresh)
        for sample in fresh:
            self._latest[sample.base][sample.exchange] = sample
        try:
            await store.publish(self._redis, fresh)
            self._well("Redis")
        except RedisError as error:
            self._failed("Redis", f"{type(error).__name__}: {error}")
        lines: list[str] = []
        for base in self._bases:
            lines += await self._lines(base, [s for s in fresh if s.base == base])
        await self._points.write(lines)

    async def _ask(self, source: Source) -> list[OpenInterest]:
        samples: list[OpenInterest] = []
        problem = ""
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                for base in self._bases:
                    try:
                        sample = await source.fetch(base)
                    except VenueError as error:
                        problem = f"{base}: {error}"
                        continue
                    if sample is None:
                        self._missing(base, source.name)
                        continue
                    self._not_listed.discard((base, source.name))
                    samples.append(sample)
                    age_s = time.time() - sample.ts_ms / 1000
                    if age_s > STALE_S:
                        problem = f"{base}: the venue's value is {age_s:.0f} s old"
        except TimeoutError:
            problem = f"no answer within {ROUND_TIMEOUT_S:g} s"
        if problem:
            self._failed(source.name, problem)
        else:
            self._well(source.name)
        return samples

    async def _lines(self, base: str, fresh: list[OpenInterest]) -> list[str]:
        now_ms = time.time_ns() // 1_000_000
        before: Mapping[str, float] = {}
        try:
            before = await store.coins_a_day_ago(self._influx, base, now_ms)
        except (InfluxError, InfluxUnavailable) as error:
            _log.debug("no history %s", kv(base=base, error=error))
        lines = []
        for sample in fresh:
            then = {name: value for name, value in before.items() if name == sample.exchange}
            now = {sample.exchange: sample.coins}
            lines.append(store.venue_line(sample, change(now, then)))
        latest = self._latest[base]
        expected = {s.name for s in self._sources if (base, s.name) not in self._not_listed}
        total = aggregate(latest, expected, {s.exchange for s in fresh}, now_ms)
        if total is not None:
            now = {name: latest[name].coins for name in total.venues}
            lines.append(store.aggregate_line(base, total, change(now, before), now_ms))
        return lines

    def _missing(self, base: str, name: str) -> None:
        if (base, name) not in self._not_listed:
            self._not_listed.add((base, name))
            _log.info("no such perpetual %s", kv(exchange=name, base=base))

    def _failed(self, name: str, problem: str) -> None:
        self.failing[name] = problem
        now = time.monotonic()
        if now - self._warned.get(name, -REPEAT_WARNING_S) >= REPEAT_WARNING_S:
            self._warned[name] = now
            _log.warning("open interest incomplete %s", kv(source=name, error=problem))

    def _well(self, name: str) -> None:
        if self.failing.pop(name, None) is not None:
            self._warned.pop(name, None)
            _log.info("open interest complete again %s", kv(source=name))
