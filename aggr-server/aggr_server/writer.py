"""From the spool into InfluxDB: in order, again and again until everything is stored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain
from logging import getLogger
from typing import TypeVar

import msgspec

from aggr_server import clock
from aggr_server.epitaph import decode
from aggr_server.influx import (
    InfluxClient,
    InfluxError,
    InfluxUnavailable,
    PointsRefused,
    gap_of,
)
from aggr_server.log import kv
from aggr_server.points import BARS, bar_line, gap_line, market_line
from aggr_server.spool import Spool, Unsent
from aggr_server.throttle import Backoff, Occasionally
from aggr_server.wire import FORCED_ORDERS_ONLY, GAPS_MEASUREMENT, Bar, Gap, Market

LOOK_BACK = "24h"
BEHIND_S = 10
"""With more closed seconds than this waiting, more points go into one write."""

LARGE_BATCH = 5000
SMALL_BATCH = 50
READ_BYTES = 1 << 20
SIFT = 100
"""Up to so many refused points of a write are told apart from those that were taken."""

LINES_AT_ONCE = 500
LOOK_AGAIN_S = 60.0
WATCHED_S = 900.0
"""So long the former collector of a market may go on, and record a gap in it when it ends."""

_DROPPED = re.compile(r"dropped=(\d+)")
_log = getLogger(__name__)
T = TypeVar("T")


class Writer:
    """Brings what is in `spool` to InfluxDB, at most `batch` points in one write.

    After an outage writes are larger. Besides bars and gaps it stores what the markets are.
    """

    def __init__(
        self, influx: InfluxClient, spool: Spool, *, batch: int = 100, flush_s: float = 1.0
    ) -> None:
        self.connected = False
        self.points_written = 0
        self.points_refused = 0
        self.spool = spool
        self._influx = influx
        self._batch = batch
        self._size = batch
        self._flush_s = flush_s
        self._gaps: dict[tuple[str, str, int], Gap] = {}
        self._refused: dict[str, Gap] = {}
        self._markets: dict[str, tuple[Market, int]] = {}
        self._known: dict[str, None] = {}
        self._newcomers: list[tuple[tuple[str, ...], int, bool]] = []
        self._down_gaps: list[Gap] = []
        self._left_gaps: list[Gap] = []
        self._watched: dict[str, float] = {}
        self._seen: set[Gap] = set()
        self._look_again_s = 0.0
        self._news = asyncio.Event()
        self._complain = Occasionally(30.0)

    @property
    def backlog(self) -> int:
        """Closed seconds that are not yet stored."""
        return self.spool.waiting

    def wake(self) -> None:
        """The spool has something new."""
        self._news.set()

    def add_markets(self, markets: Iterable[Market], time_s: int) -> None:
        """Record what the markets are."""
        for market in markets:
            self._markets[market.market] = (market, time_s)
            self._known[market.market] = None
        self._news.set()

    def look_back(self, markets: Iterable[str], start_s: int, *, apart: bool = False) -> None:
        """Find out, before the first bar of `markets` is stored, how long nobody collected them,
        and what their last collector had not fetched yet.

        `start_s`: when they are followed again. `apart`: they may have had different collectors, so
        that the bars of one say nothing about another, and they may go on for a while. The answers
        come by `take_down_gaps` and `take_left_gaps`.
        """
        if names := tuple(markets):
            self._newcomers.append((names, start_s, apart))

    def take_down_gaps(self) -> list[Gap]:
        """Gaps found in what is stored, or in the spool, since the last call."""
        found, self._down_gaps = self._down_gaps, []
        return found

    def take_left_gaps(self) -> list[Gap]:
        """Gaps in trades that others have recorded of markets followed since the last call."""
        found, self._left_gaps = self._left_gaps, []
        return found

    async def run(self) -> None:
        """Keep the spool and write for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.spool.run())
            group.create_task(self._write_for_ever())

    async def _write_for_ever(self) -> None:
        backoff = Backoff(base_s=1.0, cap_s=15.0)
        while True:
            await self._news.wait()
            self._news.clear()
            started = clock.monotonic()
            if await self.flush():
                backoff.reset()
                pause = self._flush_s * 0.9 - (clock.monotonic() - started)
            else:
                pause = backoff.next() + self._flush_s
                self._news.set()
            await clock.sleep(max(0.0, pause))

    async def flush(self) -> bool:
        """Write everything that waits; False if InfluxDB could not take it."""
        try:
            if not self.connected:
                await self._influx.ping()
            await self._find_down_gaps()
            await self._write_records()
            while (unsent := await self.spool.unsent(READ_BYTES)).records:
                await self._deliver(unsent)
            # By now all is stored of its own gaps, which would be taken for others' otherwise.
            await self._find_late_gaps()
        except (InfluxUnavailable, InfluxError) as error:
            self._on_failure(error)
            return False
        except OSError as error:
            if self._complain("spool"):
                _log.error("spool cannot be read %s", kv(error=error, seconds=self.backlog))
            return False
        if not self.connected:
            _log.info("influxdb reached %s", kv(points=self.points_written))
        self.connected = True
        return True

    def _on_failure(self, error: Exception) -> None:
        self.connected = False
        remedy = (
            "it is tried again for ever, bars are kept in the spool meanwhile"
            if isinstance(error, InfluxUnavailable)
            else "check INFLUX_USERNAME and INFLUX_PASSWORD"
        )
        if self._complain():
            _log.warning(
                "influxdb away %s", kv(error=error, remedy=remedy, seconds_waiting=self.backlog)
            )

    async def _deliver(self, unsent: Unsent) -> None:
        """Store what these records say, the newest of each bar and gap, then confirm them."""
        bars: dict[tuple[str, int], Bar] = {}
        gaps: dict[tuple[str, str, int], Gap] = {}
        lost = list(unsent.lost)
        for record in unsent.records:
            try:
                closed = decode(record.payload)
            except msgspec.MsgspecError as error:
                _log.error("spool record not understood %s", kv(at_s=record.second, error=error))
                lost.append((record.second, record.second + 1))
                continue
            bars.update(((b.market, b.time), b) for b in chain(closed.bars, closed.amended))
            gaps.update(((g.market, g.reason, g.from_s), g) for g in closed.gaps)
            await clock.sleep(0)
        self._on_damage(lost, {market for market, _ in bars})
        await self._write_bars(list(bars.values()))
        await self._write_lines([gap_line(gap) for gap in gaps.values()])
        await self._write_records()
        self.spool.confirm(unsent.records)

    def _on_damage(self, lost: list[tuple[int, int]], markets: set[str]) -> None:
        if not lost:
            return
        gaps = [
            Gap(market, from_s, to_s, "spool")
            for from_s, to_s in lost
            for market in sorted(markets | self._known.keys())
        ]
        self._add_gaps(gaps)
        # Given again when the write failed, so it is told only once what is news.
        self._down_gaps += [gap for gap in gaps if gap not in self._down_gaps]
        if self._complain("damage"):
            _log.error(
                "seconds lost from the spool, recorded as gaps %s",
                kv(from_s=lost[0][0], to_s=lost[-1][1], remedy="check the disk"),
            )

    async def _write_bars(self, bars: Sequence[Bar]) -> None:
        start = 0
        while start < len(bars):
            most = max(self._batch, LARGE_BATCH) if self.backlog > BEHIND_S else self._batch
            self._size = min(self._size, most)
            part = bars[start : start + self._size]
            try:
                await self._store(part)
            except InfluxUnavailable:
                # It may be the size that it cannot cope with.
                self._size = max(min(SMALL_BATCH, self._batch), self._size // 2)
                raise
            start += len(part)
            self._size = min(self._size * 2, most)

    async def _store(self, bars: Sequence[Bar]) -> None:
        lines: list[str] = []
        for part in _parts(bars, LINES_AT_ONCE):
            lines += [bar_line(bar) for bar in part]
            await clock.sleep(0)
        try:
            await self._influx.write(lines, retention_policy=BARS.retention_policy)
        except PointsRefused as error:
            await self._sift(bars, error)
        else:
            self.points_written += len(lines)

    async def _sift(self, bars: Sequence[Bar], error: PointsRefused) -> None:
        """Find the bars that are refused, the others having been stored, and give them up."""
        told = _DROPPED.search(str(error))
        dropped = int(told[1]) if told else 0
        if len(bars) > 1 and dropped < min(len(bars), SIFT):
            middle = len(bars) // 2
            await self._store(bars[:middle])
            await self._store(bars[middle:])
            return
        self._on_refusal(len(bars), error, bar_line(bars[0]))
        for bar in bars:
            before = self._refused.get(bar.market)
            joins = before is not None and before.from_s <= bar.time <= before.to_s
            from_s = before.from_s if before and joins else bar.time
            to_s = max(before.to_s, bar.time + 1) if before and joins else bar.time + 1
            gap = self._refused[bar.market] = Gap(bar.market, from_s, to_s, "refused")
            self._add_gaps([gap])

    def _on_refusal(self, points: int, error: PointsRefused, example: str) -> None:
        self.points_refused += points
        if self._complain("refused"):
            _log.error(
                "influxdb refused points %s", kv(points=points, error=error, example=example)
            )

    def _add_gaps(self, gaps: Iterable[Gap]) -> None:
        for gap in gaps:
            self._gaps[gap.market, gap.reason, gap.from_s] = gap

    async def _write_records(self) -> None:
        gaps = list(self._gaps.items())
        markets = list(self._markets.items())
        lines = [gap_line(gap) for _, gap in gaps]
        lines += [market_line(market, time_s) for _, (market, time_s) in markets]
        await self._write_lines(lines)
        for key, gap in gaps:
            if self._gaps.get(key) is gap:
                del self._gaps[key]
        for name, record in markets:
            if self._markets.get(name) is record:
                del self._markets[name]

    async def _write_lines(self, lines: Sequence[str]) -> None:
        for part in _parts(lines, self._batch):
            try:
                await self._influx.write(part)
            except PointsRefused as error:
                self._on_refusal(len(part), error, part[0])
            else:
                self.points_written += len(part)

    async def _find_down_gaps(self) -> None:
        if not self._newcomers:
            return
        # What is stored from then on, another collector may have stored, or this one meanwhile.
        until_s = min(start_s for _, start_s, _ in self._newcomers)
        rows = await self._influx.query(
            f'SELECT last("close") FROM "{BARS.retention_policy}"."{BARS.measurement}" '
            f"WHERE time > now() - {LOOK_BACK} AND time < {until_s}s GROUP BY market"
        )
        stored = {row["market"]: int(row["time"]) for row in rows}
        await self._find_left_gaps()
        for markets, start_s, apart in self._newcomers:
            known = {m: stored[m] for m in markets if m in stored}
            # Markets of one collector are stored together, so the newest bar of any of them tells
            # when it was alive; the last two seconds may have been awaiting late trades.
            newest_s = max(known.values(), default=0)
            for market, last_s in known.items():
                from_s = (last_s if apart else newest_s) - 1
                if from_s < start_s:
                    self._down_gaps.append(Gap(market, from_s, start_s, "down"))
        self._newcomers.clear()
        self._add_gaps(self._down_gaps)

    async def _find_left_gaps(self) -> None:
        begun = {market: start_s for markets, start_s, _ in self._newcomers for market in markets}
        gaps = await self._recorded(begun)
        now_s = clock.monotonic()
        for markets, _, apart in self._newcomers:
            if apart:
                self._watched.update(dict.fromkeys(markets, now_s + WATCHED_S))
        self._seen.update(gap for gap in gaps if gap.market in self._watched)
        self._look_again_s = now_s + LOOK_AGAIN_S
        for gap in gaps:
            to_s = min(gap.to_s, begun[gap.market])
            if gap.from_s < to_s:
                self._left_gaps.append(Gap(gap.market, gap.from_s, to_s, gap.reason))

    async def _find_late_gaps(self) -> None:
        """Gaps recorded after the first look, by whoever went on collecting for a while."""
        now_s = clock.monotonic()
        if not self._watched or now_s < self._look_again_s:
            return
        gaps = await self._recorded(self._watched)
        self._left_gaps += [gap for gap in gaps if gap not in self._seen]
        self._look_again_s = now_s + LOOK_AGAIN_S
        self._watched = {m: until_s for m, until_s in self._watched.items() if until_s > now_s}
        if not self._watched:
            self._seen.clear()

    async def _recorded(self, markets: Container[str]) -> list[Gap]:
        """Gaps in trades that are recorded of these markets, and not filled."""
        rows = await self._influx.query(
            f'SELECT from_s, to_s, market, reason FROM "{GAPS_MEASUREMENT}" '
            f"WHERE time > now() - {LOOK_BACK}"
        )
        gaps = (gap_of(row) for row in rows if row["market"] in markets)
        return [gap for gap in gaps if gap.from_s < gap.to_s and gap.reason != FORCED_ORDERS_ONLY]


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
