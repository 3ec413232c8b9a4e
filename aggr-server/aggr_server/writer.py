"""Bars, gaps and markets into InfluxDB: in order, again and again until they are stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from itertools import islice
from logging import getLogger

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable, PointsRefused
from aggr_server.log import kv
from aggr_server.points import BARS, bar_line, gap_line, market_line
from aggr_server.throttle import Backoff, Occasionally
from aggr_server.wire import Bar, ClosedSecond, Gap, Market

LOOK_BACK = "24h"
MAX_GAPS = 20_000

_log = getLogger(__name__)


class Writer:
    """Keeps what InfluxDB has not yet confirmed, bounded by `keep_s` seconds of bars.

    `add` never waits and never fails. What had to be dropped is recorded as gaps.
    """

    def __init__(
        self, influx: InfluxClient, *, batch: int = 100, flush_s: float = 1.0, keep_s: int = 3600
    ) -> None:
        self.connected = False
        self.points_written = 0
        self.points_refused = 0
        self.bars_dropped = 0
        self._influx = influx
        self._batch = batch
        self._flush_s = flush_s
        self._keep_s = keep_s
        self._bars: dict[int, dict[str, Bar]] = {}
        self._gaps: dict[tuple[str, str, int], Gap] = {}
        self._markets: dict[str, tuple[Market, int]] = {}
        self._newcomers: list[tuple[tuple[str, ...], int]] = []
        self._down_gaps: list[Gap] = []
        self._overflow: dict[str, Gap] = {}
        self._news = asyncio.Event()
        self._complain = Occasionally(30.0)
        self._dropping = False

    @property
    def backlog(self) -> int:
        """Bars that are not yet stored."""
        return sum(map(len, self._bars.values()))

    def add(self, closed: ClosedSecond) -> None:
        """Take over a closed second; amended bars replace what still waits."""
        for bar in (*closed.bars, *closed.amended):
            self._bars.setdefault(bar.time, {})[bar.market] = bar
        self.add_gaps(closed.gaps)
        while len(self._bars) > self._keep_s:
            self._drop(min(self._bars))
        self._news.set()

    def add_gaps(self, gaps: Iterable[Gap]) -> None:
        """Record gaps; a later record of the same gap replaces the earlier one."""
        for gap in gaps:
            self._gaps[gap.market, gap.reason, gap.from_s] = gap
        while len(self._gaps) > MAX_GAPS:
            del self._gaps[next(iter(self._gaps))]

    def add_markets(self, markets: Iterable[Market], time_s: int) -> None:
        """Record what the markets are."""
        for market in markets:
            self._markets[market.market] = (market, time_s)
        self._news.set()

    def look_back(self, markets: Iterable[str], start_s: int) -> None:
        """Find out, before the first bar of `markets` is stored, how long nobody collected them.

        `start_s`: when they are followed again. The answer comes by `take_down_gaps`.
        """
        self._newcomers.append((tuple(markets), start_s))

    def take_down_gaps(self) -> list[Gap]:
        """Gaps found by `look_back` since the last call."""
        found, self._down_gaps = self._down_gaps, []
        return found

    async def run(self) -> None:
        """Write for ever."""
        backoff = Backoff(base_s=1.0, cap_s=15.0)
        while True:
            await self._news.wait()
            self._news.clear()
            started = time.monotonic()
            if await self.flush():
                backoff.reset()
                pause = self._flush_s * 0.9 - (time.monotonic() - started)
            else:
                pause = backoff.next() + self._flush_s
                self._news.set()
            await asyncio.sleep(max(0.0, pause))

    async def flush(self) -> bool:
        """Write everything that waits; False if InfluxDB could not take it."""
        try:
            if not self.connected:
                await self._influx.ping()
            await self._find_down_gaps()
            await self._write_bars()
            await self._write_records()
        except (InfluxUnavailable, InfluxError) as error:
            self._on_failure(error)
            return False
        if not self.connected:
            _log.info("influxdb reached %s", kv(points=self.points_written))
        self.connected = True
        self._dropping = False
        return True

    def _on_failure(self, error: Exception) -> None:
        self.connected = False
        remedy = (
            "it is tried again for ever, bars are kept meanwhile"
            if isinstance(error, InfluxUnavailable)
            else "run influx-init, check INFLUX_USERNAME and INFLUX_PASSWORD"
        )
        if self._complain():
            _log.warning(
                "influxdb away %s", kv(error=error, remedy=remedy, bars_waiting=self.backlog)
            )

    async def _write_bars(self) -> None:
        waiting = [bar for second in sorted(self._bars) for bar in self._bars[second].values()]
        remaining = iter(waiting)
        while part := list(islice(remaining, self._batch)):
            await self._write([bar_line(bar) for bar in part], BARS.retention_policy)
            for bar in part:
                self._forget(bar)

    def _forget(self, bar: Bar) -> None:
        markets = self._bars.get(bar.time)
        # An amended bar that came in while this one was written must still be written.
        if markets is not None and markets.get(bar.market) is bar:
            del markets[bar.market]
            if not markets:
                del self._bars[bar.time]

    async def _write_records(self) -> None:
        gaps = list(self._gaps.items())
        markets = list(self._markets.items())
        lines = [gap_line(gap) for _, gap in gaps]
        lines += [market_line(market, time_s) for _, (market, time_s) in markets]
        remaining = iter(lines)
        while part := list(islice(remaining, self._batch)):
            await self._write(part, "")
        for key, gap in gaps:
            if self._gaps.get(key) is gap:
                del self._gaps[key]
        for name, record in markets:
            if self._markets.get(name) is record:
                del self._markets[name]
        self._overflow.clear()

    async def _write(self, lines: list[str], retention_policy: str) -> None:
        try:
            await self._influx.write(lines, retention_policy=retention_policy)
        except PointsRefused as error:
            self.points_refused += len(lines)
            if self._complain("refused"):
                _log.error(
                    "influxdb refused points %s",
                    kv(points=len(lines), error=error, example=lines[0]),
                )
        else:
            self.points_written += len(lines)

    async def _find_down_gaps(self) -> None:
        if not self._newcomers:
            return
        rows = await self._influx.query(
            f'SELECT last("close") FROM "{BARS.retention_policy}"."{BARS.measurement}" '
            f"WHERE time > now() - {LOOK_BACK} GROUP BY market"
        )
        stored = {row["market"]: int(row["time"]) for row in rows}
        for markets, start_s in self._newcomers:
            known = {m: stored[m] for m in markets if m in stored}
            if not known:
                continue
            # All markets are stored together, so the newest bar of any of them tells when the
            # collector was alive; the last two seconds may have been awaiting late trades.
            from_s = max(known.values()) - 1
            if from_s < start_s:
                self._down_gaps += [Gap(market, from_s, start_s, "down") for market in known]
        self._newcomers.clear()
        self.add_gaps(self._down_gaps)

    def _drop(self, second: int) -> None:
        dropped = self._bars.pop(second)
        self.bars_dropped += len(dropped)
        for market in dropped:
            begun = self._overflow.get(market)
            gap = Gap(market, begun.from_s if begun else second, second + 1, "overflow")
            self._overflow[market] = gap
            self._gaps[gap.market, gap.reason, gap.from_s] = gap
        if not self._dropping:
            self._dropping = True
            _log.error(
                "bars dropped, influxdb is away for too long %s",
                kv(keep_s=self._keep_s, remedy="bring InfluxDB back or raise AGGR_BUFFER_SIZE"),
            )
