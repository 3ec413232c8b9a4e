"""What the pollers bring, and its sums, on their way to Redis and InfluxDB."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from logging import getLogger
from typing import TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server import clock
from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from services.core.alerts import told
from services.core.outage import Outage
from services.core.points import PointStore
from services.core.records import Alert, OpenInterest, OpenInterestTotal
from services.core.transaction import transact
from services.oi import store
from services.oi.aggregate import aggregate, change, detailed
from services.oi.bases import Bases
from services.oi.book import Book
from services.oi.guard import Held

BASES_EVERY_S = 30.0
HISTORY_EVERY_S = 60.0
MAX_ALERTS = 1000
MAX_UNSTORED = 10_000

K = TypeVar("K")
V = TypeVar("V")

_log = getLogger(__name__)


class Recorder:
    """Publishes what is new at once, stores it, and every `sum_every_s` the sums over the venues.

    What Redis does not take is offered again: of samples the newest, of alerts all.
    """

    def __init__(
        self,
        book: Book,
        bases: Bases,
        redis: Redis,
        influx: InfluxClient,
        outage: Outage,
        sum_every_s: float,
    ) -> None:
        self._book = book
        self._bases = bases
        self._redis = redis
        self._influx = influx
        self._outage = outage
        self._sum_every_s = sum_every_s
        self._points = PointStore(influx)
        self._samples: dict[tuple[str, str], OpenInterest] = {}
        self._unstored: deque[OpenInterest] = deque(maxlen=MAX_UNSTORED)
        self._alerts: deque[Alert] = deque(maxlen=MAX_ALERTS)
        self._totals: dict[str, OpenInterestTotal] = {}
        self._before: Mapping[str, Mapping[str, float]] = {}
        self._bases_due = self._history_due = self._sum_due = time.monotonic()
        self._kept: list[Held] = []
        self._publishing = asyncio.Lock()
        self.redis_error = ""

    @property
    def problem(self) -> str:
        """What is wrong with Redis or InfluxDB, or empty."""
        found = [f"Redis: {self.redis_error}"] if self.redis_error else []
        if self._points.error:
            found.append(f"InfluxDB: {self._points.error}")
        return "; ".join(found)

    async def remember(self) -> None:
        """Begin with what an earlier run left in Redis, if it answers."""
        try:
            await self._bases.refresh(self._redis)
            self._book.remember(*await store.remembered(self._redis, self._bases.current))
        except RedisError as error:
            self._outage.failed(error)

    async def record(self, *, sums: bool) -> None:
        """Publish and store what is new; also the sums, if `sums` and they are due."""
        self._fetch()
        now = time.monotonic()
        if now >= self._bases_due:
            self._bases_due = now + BASES_EVERY_S
            await self._reaching(self._bases.refresh(self._redis))
        due = sums and now >= self._sum_due
        if (self._unstored or due) and now >= self._history_due:
            self._history_due = now + HISTORY_EVERY_S
            await self._look_back()
        lines = []
        while self._unstored:
            lines += self._venue_lines(self._unstored.popleft())
        if due:
            self._sum_due = now + self._sum_every_s
            lines += self._sums()
        await self.announce()
        await self._points.write(lines)

    async def announce(self) -> None:
        """Publish what is new; while somebody is at it, at the next time.

        So nobody queues up for a Redis that hangs.
        """
        self._fetch()
        if self._publishing.locked():
            return
        async with self._publishing:
            await self._reaching(self._tell())

    def _fetch(self) -> None:
        fresh, alerts = self._book.news()
        self._samples |= {(s.base, s.exchange): s for s in fresh}
        self._unstored += fresh
        self._alerts += alerts

    def _venue_lines(self, sample: OpenInterest) -> list[str]:
        before = self._before.get(sample.base, {})
        return store.venue_lines(sample, change({sample.exchange: sample.coins}, before))

    def _sums(self) -> list[str]:
        now_ms = clock.now_ms()
        return [text for base in self._bases.current for text in self._sums_of(base, now_ms)]

    def _sums_of(self, base: str, now_ms: int) -> list[str]:
        latest, states = self._book.latest.get(base, {}), self._book.states(base)
        expected, before = self._book.expected(base), self._before.get(base, {})
        lines = []
        for kind, asked in (
            (store.FUTURES_AGG, expected & store.FUTURES_VENUES),
            (store.TOTAL_AGG, expected),
        ):
            total = aggregate(latest, asked, states, now_ms)
            if total is None:
                continue
            now = {name: latest[name].coins for name in total.venues}
            lines.append(store.aggregate_line(base, kind, total, change(now, before), now_ms))
            if kind == store.TOTAL_AGG:
                self._totals[base] = detailed(base, total, latest, before, now_ms)
        return lines

    async def _look_back(self) -> None:
        now_ms = clock.now_ms()
        try:
            self._before = await store.coins_a_day_ago(self._influx, self._bases.current, now_ms)
        except (InfluxError, InfluxUnavailable) as error:
            self._before = {}
            _log.debug("no history %s", kv(error=error))

    async def _reaching(self, work: Awaitable[None]) -> None:
        try:
            await work
        except RedisError as error:
            self.redis_error = f"{type(error).__name__}: {error}"
            self._outage.failed(error)
        else:
            self.redis_error = ""
            self._outage.over()

    async def _tell(self) -> None:
        if samples := dict(self._samples):
            await store.publish(self._redis, samples.values())
            _forget(self._samples, samples)
        if totals := dict(self._totals):
            await store.publish_totals(self._redis, totals.values())
            _forget(self._totals, totals)
        held = [jump for jumps in self._book.held.values() for jump in jumps.values()]
        if held != self._kept:
            await store.keep_held(self._redis, self._book.held, held)
            self._kept = held
        while self._alerts:
            await transact(self._redis, told(msgspec.json.encode(self._alerts[0])))
            self._alerts.popleft()


def _forget(waiting: dict[K, V], done: Mapping[K, V]) -> None:
    """Take out of `waiting` what is done, except for what is newer."""
    for key, value in done.items():
        if waiting.get(key) is value:
            del waiting[key]
