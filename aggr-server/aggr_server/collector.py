"""The collector at work: markets found, feeds kept, seconds closed, stored and announced."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from aggr_server import ccxt_markets, clock, shards, state
from aggr_server.bars import BarBuilder, Series
from aggr_server.bus import Bus
from aggr_server.discovery import Selection
from aggr_server.exchanges.base import Adapter, Instrument, StreamKind
from aggr_server.feed import Feed
from aggr_server.following import Venue, now_s
from aggr_server.gaps import GapBook
from aggr_server.instruments import InstrumentCache
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.metrics import Metrics
from aggr_server.outlet import Outlet
from aggr_server.recovery import Forced
from aggr_server.settings import CollectorSettings
from aggr_server.spool import Spool
from aggr_server.timekeeping import BACKWARDS_MS, keep_time
from aggr_server.transport import PicowsConnector
from aggr_server.wire import Market
from aggr_server.writer import Writer

NOT_YET_LIVE = sys.maxsize
MARKETS_EVERY_S = 3600
UNCERTAIN_S = 2
"""The newest closed seconds may still have been awaiting trades when a collector died."""

UNTOLD_S = 4
"""Further back, a number missing from a gapless market had been noticed, but not yet told."""

_log = getLogger(__name__)


class NothingToCollect(Exception):
    """The settings name no market that exists; the text says what to change."""


class Collector:
    """All state of a running collector. `run` works until it is cancelled.

    `folder`: for what must survive a restart. `status`: the state in a few words and figures, for
    the heartbeat. `forced`: looks up forced
    orders of seconds that are no longer in memory.

    Raises `NothingToCollect` once every venue has answered, and `ClockSetBack`, also inside an
    exception group.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        adapters: Sequence[Adapter],
        spool: Spool,
        writer: Writer,
        redis: Redis,
        session: aiohttp.ClientSession,
        *,
        folder: Path,
        status: Callable[[Collector], tuple[str, dict[str, object]]],
        forced: Callable[[BarBuilder], Forced] | None = None,
    ) -> None:
        self.builder = BarBuilder(
            interval_s=settings.aggr_interval,
            grace_ms=settings.aggr_grace_ms,
            keep_s=settings.aggr_buffer_size,
        )
        self.shard = shards.parse(settings.aggr_shard)
        self.gaps = GapBook(settings.aggr_interval)
        self.markets: dict[str, MarketState] = {}
        self.writer = writer
        self.spool = spool
        self.bus = Bus(
            redis,
            markets=self.records,
            status=lambda: status(self),
            part=self.shard.named(""),
        )
        self.metrics = Metrics()
        self.last_turn_ms = 0
        self.lag_ms = 0.0
        self._settings = settings
        self._grace_ms = settings.aggr_grace_ms
        self._fresh = spool.last_second is None
        self._state_file = folder / "gaps.json"
        self._keeper = state.Keeper(self._state_file, self.gaps)
        self._selection = Selection(settings)
        self._available: dict[str, Instrument] = {}
        self._series: dict[str, Series] = {}
        name = self.shard.named(settings.aggr_collector)
        self._outlet = Outlet(name, self.gaps, self.metrics, spool, writer, self.bus)
        cache = InstrumentCache(folder / "instruments")
        connector = PicowsConnector()
        self.venues = [
            Venue(
                adapter,
                settings,
                session,
                connector,
                self,
                book=self.gaps,
                selection=self._selection,
                shard=self.shard,
                cache=cache,
                forced=forced(self.builder) if forced else None,
                busy=self._is_busy,
            )
            for adapter in adapters
        ]
        self._venue_of = {venue.adapter.name: venue for venue in self.venues}

    @property
    def feeds(self) -> list[Feed]:
        """Every connection."""
        return [feed for venue in self.venues for feed in venue.feeds]

    @property
    def undiscovered(self) -> dict[str, str]:
        """Venues whose markets are not yet known -> the last error."""
        return {v.adapter.name: v.problem for v in self.venues if not v.is_listed}

    async def run(self) -> None:
        """Collect for ever."""
        self._resume()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_time(self.builder, self._grace_ms, self._turn))
                group.create_task(self._keeper.run())
                group.create_task(self.writer.run())
                group.create_task(self.bus.run())
                group.create_task(self._describe_markets())
                for venue in self.venues:
                    group.create_task(venue.run())
        finally:
            self._keeper.save()

    def records(self) -> dict[str, Market]:
        """The markets as readers know them."""
        return {name: m.record() for name, m in self.markets.items() if not m.refused}

    def live(self, market: MarketState, kind: StreamKind, at_ms: int) -> None:
        """From `at_ms` on, everything of this stream is received."""
        first_s = self._venue_of[market.exchange].live(market.name, kind, at_ms)
        if market.series.first_s == NOT_YET_LIVE:
            market.series.first_s = first_s

    def lost(self, market: MarketState, kind: StreamKind, at_ms: int, reason: str) -> None:
        """After `at_ms`, data of this stream may have been missed, until it is live again."""
        venue = self._venue_of[market.exchange]
        self.gaps.begin(market.name, kind, venue.clock.uncertain_since(at_ms), reason)
        self._keeper.touch()

    def refused(self, market: MarketState, kind: StreamKind, reason: str) -> None:
        """The venue does not deliver this stream; it is not asked for any more."""
        if kind == "trades":
            market.refused = reason
        self.gaps.end(market.name, kind, now_s())
        _log.error(
            "stream refused by its exchange %s", kv(market=market.name, kind=kind, reason=reason)
        )

    def doubtful(self, market: MarketState, from_ms: int, to_ms: int, reason: str) -> None:
        """Data of a live stream between these times was lost."""
        clock_ = self._venue_of[market.exchange].clock
        from_s, to_s = clock_.uncertain_since(from_ms), clock_.certain_from(to_ms)
        self.gaps.add(market.name, "trades", from_s, to_s, reason)
        self._keeper.touch()

    def listed(self, venue: Venue, available: Mapping[str, Instrument]) -> None:
        """The venue has told its markets: all of them known, it shows what the settings miss."""
        self._available.update(available)
        prefix = f"{venue.adapter.name}:"
        self._forget(
            m for m in list(self._keeper.followed) if m.startswith(prefix) and m not in self.markets
        )
        if self.undiscovered:
            return
        names = [v.adapter.name for v in self.venues]
        if problem := self._selection.missing(self._available, names):
            if not self._available:
                raise NothingToCollect(problem)
            _log.error("some markets do not exist %s", kv(problem=problem))

    def found(self, venue: Venue, instruments: Sequence[Instrument]) -> list[MarketState]:
        """Follow these from now on."""
        # A second that has passed may still be open, and nothing of it was received.
        start_s, states, new = min(now_s(), self.builder.next_s), [], []
        for instrument in instruments:
            name = venue.adapter.market(instrument)
            series = self._series.get(name)
            if series is None:
                series = self._series[name] = self.builder.series(name)
                series.first_s = NOT_YET_LIVE
            states.append(MarketState(venue.adapter, instrument, series))
            if name not in self._keeper.followed:
                new.append(name)
            kinds = venue.kinds(instrument)
            for kind in kinds:
                self.gaps.begin(name, kind, start_s, "start")
            self._keeper.followed[name] = kinds
        self._keeper.touch()
        self.markets.update((s.name, s) for s in states)
        # Whoever begins without files and alone takes over from one that has lost them; what is
        # new to others may come from several.
        self.writer.look_back(new, start_s, apart=not self._fresh or self.shard.count > 1)
        self.writer.add_markets([s.record() for s in states], start_s)
        self.bus.announce()
        return states

    def gone(self, venue: Venue, names: Iterable[str]) -> None:
        """These are no longer followed."""
        names = list(names)
        for name in names:
            self.markets.pop(name, None)
        self._forget(names)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self.gaps.close(name, now_s())
            self._keeper.followed.pop(name, None)
        self._keeper.touch()

    def _is_busy(self, base: str) -> bool:
        """Whether a coin has been traded anywhere in the last few seconds."""
        since_ms = clock.now_ms() - 5000
        return any(
            m.last_trade_ms > since_ms for m in self.markets.values() if m.instrument.base == base
        )

    def _resume(self) -> None:
        """Take up what an earlier process left, and record how long nobody collected."""
        saved = state.load(self._state_file)
        self.gaps.restore(saved.spans)
        now, last_s = clock.now_ms(), self.spool.last_second
        interval_s, grace_ms = self.builder.interval_s, self._grace_ms
        if last_s is not None and last_s * 1000 > now + BACKWARDS_MS:
            _log.error("stored seconds lie in the future, check the clock %s", kv(last_s=last_s))
            last_s = None
        newest: dict[str, int] = {}
        if last_s is not None:
            tail = self.spool.tail(self._settings.aggr_buffer_size)
            self.builder.restore(b for second in tail for b in (*second.bars, *second.amended))
            newest = {b.market: b.time for second in tail for b in second.bars if b.cbuy + b.csell}
            now = max(now, (last_s + interval_s) * 1000 + grace_ms)
        self.builder.advance(now)
        end_s = self.builder.next_s if last_s is None else last_s + 1 - UNCERTAIN_S
        for market, kinds in saved.followed.items():
            venue = self._venue_of.get(ccxt_markets.split(market)[0])
            if venue is None or not self.shard.holds(market):
                self.gaps.close(market, end_s)
                continue
            self._keeper.followed[market] = kinds
            from_s = end_s - (UNTOLD_S if venue.adapter.gapless else 0)
            for kind in kinds:
                # Whoever had been silent may have been mute without that being found out in time.
                heard_s = newest.get(market, from_s) if kind == "trades" else end_s
                self.gaps.begin(market, kind, min(heard_s, from_s), "down")

    def _turn(self, due_ms: int, now_ms: int) -> None:
        """Close what is due; see `keep_time`."""
        self.lag_ms = now_ms - due_ms
        self.metrics.loop_lag.observe(self.lag_ms / 1000)
        self._take_losses()
        for venue in self.venues:
            venue.tick(now_ms)
        closed = self.builder.advance(now_ms)
        if not self.builder.pending:
            self.gaps.settle()
        for period in closed:
            self._outlet.emit(period)
        keep_s = max(self._settings.aggr_recover_s, self._settings.aggr_buffer_size)
        self.gaps.forget(now_ms // 1000 - keep_s)
        self._keeper.look()
        self.last_turn_ms = clock.now_ms()

    def _take_losses(self) -> None:
        for gap in self.writer.take_left_gaps():
            self.gaps.add(gap.market, "trades", gap.from_s, gap.to_s, gap.reason)
        for gap in self.writer.take_down_gaps():
            for kind in self._keeper.followed.get(gap.market, ()):
                self.gaps.add(gap.market, kind, gap.from_s, gap.to_s, gap.reason)
        for gap in self.spool.take_lost():
            self.gaps.add(gap.market, "trades", gap.from_s, gap.to_s, gap.reason)
        for name, second in self.builder.take_too_late():
            self.gaps.add(name, "trades", second, second + 1, "late")
        for market in self.markets.values():
            for from_ms, to_ms in market.take_jumps():
                self.gaps.add(market.name, "trades", from_ms // 1000, to_ms // 1000 + 1, "jump")

    async def _describe_markets(self) -> None:
        while True:
            await clock.sleep(MARKETS_EVERY_S)
            self.writer.add_markets(self.records().values(), now_s())
