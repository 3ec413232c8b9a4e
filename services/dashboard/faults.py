"""What has gone wrong: gaps of the watched symbols' markets, and alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, gap_of
from aggr_server.log import kv
from aggr_server.wire import GAPS_MEASUREMENT, Gap
from services.core import names
from services.core.records import Alert
from services.dashboard.audience import Audience
from services.dashboard.protocol import Alerts, GapRow, Gaps
from services.dashboard.trouble import Troubles
from services.market.history import within
from services.market.markets import Directory

GAPS_S = 4 * 3600
BEGUN_S = 86_400
"""Gaps that began this long before may still reach into the hours shown."""

MOST_GAPS = 200
MOST_ALERTS = 100
GOES_ON_S = 5
"""A gap that ends less than this before now goes on: its end moves with the clock."""

_Key = tuple[str, str, int]
"""Market, reason, and first second of a gap."""

_log = getLogger(__name__)


class GapList:
    """What is stored, and what the collectors have said since. `bases`: by symbol."""

    every_s = 15.0

    def __init__(
        self,
        audience: Audience,
        influx: InfluxClient,
        directory: Directory,
        bases: Mapping[str, str],
        troubles: Troubles,
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._influx = influx
        self._directory = directory
        self._bases = bases
        self._troubles = troubles
        self._now_ms = now_ms
        self._live: dict[_Key, Gap] = {}
        self._stored: dict[_Key, Gap] = {}
        self._stored_due = 0.0

    def learn(self, gaps: Iterable[Gap]) -> None:
        """The collectors record gaps, or say that some are shorter now."""
        for gap in gaps:
            key = gap.market, gap.reason, gap.from_s
            self._live.pop(key, None)
            self._live[key] = gap
        while len(self._live) > 20 * MOST_GAPS:
            del self._live[next(iter(self._live))]

    async def round(self) -> None:
        """Read and show once; what cannot be read leaves the page as it is."""
        watched = self._audience.symbols
        if not watched:
            return
        now_s = self._now_ms() // 1000
        if time.monotonic() >= self._stored_due:
            try:
                self._stored = await self._read(now_s)
            except (InfluxError, InfluxUnavailable) as error:
                self._troubles.note("InfluxDB", "gaps", error)
                return
            self._troubles.note("InfluxDB", "gaps", None)
            self._stored_due = time.monotonic() + self.every_s - 1.0
        known = {**self._stored, **self._live}
        for symbol in watched:
            markets = {market.market for market in self._directory.of_base(self._bases[symbol])}
            of_symbol = [gap for gap in known.values() if gap.market in markets]
            found = rows_of(of_symbol, now_s)
            self._audience.show(Gaps(symbol=symbol, ts_ms=self._now_ms(), rows=found))

    async def _read(self, now_s: int) -> dict[_Key, Gap]:
        rows = await self._influx.query(
            f'SELECT "from_s", "to_s" FROM "{GAPS_MEASUREMENT}" '
            f'WHERE {within(now_s - BEGUN_S, now_s + 60)} GROUP BY "market", "reason"'
        )
        return {(gap.market, gap.reason, gap.from_s): gap for gap in map(gap_of, rows)}


def rows_of(gaps: Iterable[Gap], now_s: int) -> list[GapRow]:
    """Those that reach into the last hours, the newest first. One that was filled is left out."""
    rows = [
        GapRow(gap.market, gap.from_s, gap.to_s, gap.reason, gap.to_s > now_s - GOES_ON_S)
        for gap in gaps
        if gap.to_s > gap.from_s and gap.to_s > now_s - GAPS_S
    ]
    return sorted(rows, key=lambda row: (-row.from_s, row.market))[:MOST_GAPS]


class AlertList:
    """Incidents that are open, and the last alerts."""

    every_s = 5.0

    def __init__(
        self, audience: Audience, redis: Redis, troubles: Troubles, now_ms: Callable[[], int]
    ) -> None:
        self._audience = audience
        self._redis = redis
        self._troubles = troubles
        self._now_ms = now_ms

    async def round(self) -> None:
        """Read and show once; what cannot be read leaves the page as it is."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.lrange(names.ALERTS, 0, MOST_ALERTS - 1)
                pipe.hgetall(names.INCIDENTS)
                last, incidents = await pipe.execute()
        except RedisError as error:
            self._troubles.note("Redis", "alerts", error)
            return
        self._troubles.note("Redis", "alerts", None)
        opened = sorted(_alerts(incidents.values()), key=lambda a: a.ts_ms, reverse=True)
        rows = _alerts(last)
        self._audience.show(Alerts(ts_ms=self._now_ms(), open=opened, rows=rows))


def _alerts(values: Iterable[bytes]) -> list[Alert]:
    found = []
    for value in values:
        try:
            found.append(msgspec.json.decode(value, type=Alert))
        except msgspec.MsgspecError as error:
            _log.warning("alert not readable %s", kv(error=error))
    return found
