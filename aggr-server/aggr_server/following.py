"""One venue at work: its markets found, fed, and what they missed fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from typing import Protocol

import aiohttp

from aggr_server import clock
from aggr_server.ccxt_link import CcxtLink
from aggr_server.ccxt_markets import is_ccxt
from aggr_server.discovery import Selection, listings
from aggr_server.entrance import asking
from aggr_server.exchanges.base import Adapter, Instrument, StreamKind
from aggr_server.feed import Feed
from aggr_server.gaps import GapBook
from aggr_server.instruments import InstrumentCache
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.offset import VenueClock
from aggr_server.recovery import Forced, Recovery
from aggr_server.rest import Rest, VenueRest
from aggr_server.settings import CollectorSettings
from aggr_server.shards import Shard
from aggr_server.transport import Connector
from aggr_server.venue import Sink, VenueFeeds

RECENTLY_MS = 60_000
LATEST_MS = 10_000

_log = getLogger(__name__)


class Owner(Sink, Protocol):
    """Who keeps the markets of all venues."""

    def listed(self, venue: Venue, available: Mapping[str, Instrument]) -> None:
        """The venue lists `available` of what is asked for, other shards' markets included."""

    def found(self, venue: Venue, instruments: Sequence[Instrument]) -> list[MarketState]:
        """These are new: follow them from now on."""

    def gone(self, venue: Venue, names: Iterable[str]) -> None:
        """These are not listed any more, or not as they were."""


class Venue:
    """Everything of one exchange. `run` works for ever.

    `problem`: why its markets are not known, or not as of today; empty if they are.
    """

    def __init__(
        self,
        adapter: Adapter,
        settings: CollectorSettings,
        session: aiohttp.ClientSession,
        connector: Connector,
        owner: Owner,
        *,
        book: GapBook,
        selection: Selection,
        shard: Shard,
        cache: InstrumentCache,
        forced: Forced | None,
        busy: Callable[[str], bool],
    ) -> None:
        self.adapter = adapter
        self.markets: dict[str, MarketState] = {}
        self.problem = ""
        self.is_listed = False
        self.clock = VenueClock()
        gateway = settings.exchange_gateway
        self._link = CcxtLink(adapter.exchange_id, gateway) if is_ccxt(adapter) else None
        self.rest: Rest = self._link or VenueRest(
            adapter.name, adapter.rest_spacing_s, session, gateway
        )
        self.recovery = Recovery(
            adapter,
            self.rest,
            book,
            self.markets,
            recover_s=settings.aggr_recover_s,
            interval_s=settings.aggr_interval,
            grace_ms=settings.aggr_grace_ms,
            forced=forced,
        )
        self._feeds = VenueFeeds(
            adapter,
            [],
            self._link or connector,
            owner,
            self.recovery,
            gateway,
            settings.aggr_batch_size,
            ask=asking(session),
            busy=busy,
        )
        self._owner = owner
        self._book = book
        self._selection = selection
        self._shard = shard
        self._cache = cache
        self._lives: list[tuple[str, StreamKind, int, int]] = []

    @property
    def feeds(self) -> list[Feed]:
        """The connections as they are now."""
        return self._feeds.feeds

    async def run(self) -> None:
        """Find, feed and fetch for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._list())
                group.create_task(self._feeds.run())
                group.create_task(self.recovery.run())
        finally:
            if self._link:
                await self._link.close()

    def kinds(self, instrument: Instrument) -> list[StreamKind]:
        """The kinds of data the venue has of an instrument."""
        kinds: dict[StreamKind, None] = {}
        for name, channel in self.adapter.channels.items():
            if (channel.instruments_of or name) == instrument.channel:
                kinds.update((s.kind, None) for s in self.adapter.streams(name, instrument))
        return list(kinds)

    def live(self, market: str, kind: StreamKind, at_ms: int) -> int:
        """Data flows since `at_ms`; the first second that will be complete."""
        first_s = self._book.end(market, kind, self.clock.certain_from(at_ms))
        self._lives.append((market, kind, at_ms, first_s))
        return first_s

    def tick(self, now_ms: int) -> None:
        """A second has passed."""
        newest_ms = max((m.last_trade_ms for m in self.markets.values()), default=0)
        latest = (m for m in self.markets.values() if m.last_trade_ms > newest_ms - LATEST_MS)
        self.clock.observe(newest_ms, now_ms, max((m.lag_ms for m in latest), default=0))
        lives = []
        for market, kind, at_ms, first_s in self._lives:
            # Whose clock turns out to be ahead was called complete too early.
            right_s = self.clock.certain_from(at_ms)
            if right_s > first_s:
                self._book.add(market, kind, first_s, right_s, "clock")
            if now_ms - at_ms < RECENTLY_MS:
                lives.append((market, kind, at_ms, max(first_s, right_s)))
        self._lives = lives
        self.recovery.look()

    async def _list(self) -> None:
        async for found, whole in listings(self.adapter, self.rest, self._cache, self._unlisted):
            self.problem = ""
            self._take(found, whole)

    def _unlisted(self, problem: str) -> None:
        self.problem = problem

    def _take(self, found: list[Instrument], whole: bool = True) -> None:
        wanted = {self.adapter.market(i): i for i in self._selection.of(self.adapter, found)}
        if self.markets and not wanted:
            _log.error(
                "exchange lists none of the markets followed, they are followed on %s",
                kv(exchange=self.adapter.name, markets=len(self.markets)),
            )
            return
        mine = {name: i for name, i in wanted.items() if self._shard.holds(name)}
        gone = [name for name, m in self.markets.items() if mine.get(name) != m.instrument]
        if gone:
            self._report_gone(gone, mine)
            self._feeds.drop(gone)
            for name in gone:
                del self.markets[name]
            self._owner.gone(self, gone)
        new = [i for name, i in mine.items() if name not in self.markets]
        if new:
            states = self._owner.found(self, new)
            self.markets.update((state.name, state) for state in states)
            self._feeds.add(states)
            names = ",".join(state.name for state in states)
            _log.info("markets found %s", kv(exchange=self.adapter.name, markets=names))
        self.is_listed = self.is_listed or whole
        self._owner.listed(self, wanted)

    def _report_gone(self, gone: Iterable[str], mine: Mapping[str, Instrument]) -> None:
        for name in gone:
            if (now := mine.get(name)) is None:
                _log.warning("market no longer listed %s", kv(market=name))
                continue
            before = self.markets[name].instrument
            _log.warning(
                "market has changed, it is followed anew %s",
                kv(market=name, contract_before=before.contract_size, contract=now.contract_size),
            )


def now_s() -> int:
    """UTC seconds."""
    return clock.now_ms() // 1000
