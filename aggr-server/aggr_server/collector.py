"""The collector at work: markets found, feeds kept, seconds closed, stored and announced."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from logging import getLogger

import aiohttp
from redis.asyncio import Redis

from aggr_server import discovery, exchanges
from aggr_server.bars import BarBuilder
from aggr_server.bus import Bus
from aggr_server.discovery import DiscoveryFailed
from aggr_server.exchanges.base import Adapter, Instrument, batches
from aggr_server.feed import Feed, now_ms
from aggr_server.gaps import GapBook, uncertain_since
from aggr_server.gateway import through_gateway
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.metrics import Metrics
from aggr_server.outlet import Outlet
from aggr_server.settings import CollectorSettings
from aggr_server.throttle import Backoff, Occasionally, Pacer
from aggr_server.transport import PicowsConnector
from aggr_server.wire import Market
from aggr_server.writer import Writer

NOT_YET_LIVE = sys.maxsize
MARKETS_EVERY_S = 3600

_log = getLogger(__name__)


class NothingToCollect(Exception):
    """The settings name no market that exists; the text says what to change."""


class Collector:
    """All state of a running collector. `run` works until it is cancelled.

    `status`: the state in a few words and figures, for the heartbeat.

    Raises `NothingToCollect`, also inside an exception group, once every venue has answered.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        adapters: Sequence[Adapter],
        writer: Writer,
        redis: Redis,
        session: aiohttp.ClientSession,
        *,
        status: Callable[[Collector], tuple[str, dict[str, object]]],
    ) -> None:
        interval_s = settings.aggr_interval
        self.builder = BarBuilder(
            interval_s=interval_s,
            grace_ms=settings.aggr_grace_ms,
            keep_s=settings.aggr_buffer_size,
        )
        self.gaps = GapBook(interval_s)
        self.markets: dict[str, MarketState] = {}
        self.feeds: list[Feed] = []
        self.undiscovered = {adapter.name: "" for adapter in adapters}
        """Venues whose markets are not yet known -> the last error."""
        self.writer = writer
        self.bus = Bus(redis, markets=self.records, status=lambda: status(self))
        self.metrics = Metrics()
        self.last_turn_ms = 0
        self.lag_ms = 0.0
        self._settings = settings
        self._adapters = adapters
        self._session = session
        self._connector = PicowsConnector()
        self._outlet = Outlet(settings.aggr_collector, self.gaps, self.metrics, writer, self.bus)
        self._complain = Occasionally(30.0)

    async def run(self) -> None:
        """Collect for ever."""
        self.builder.advance(now_ms())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_time())
            group.create_task(self.writer.run())
            group.create_task(self.bus.run())
            group.create_task(self._describe_markets())
            for adapter in self._adapters:
                group.create_task(self._collect(adapter))

    def records(self) -> dict[str, Market]:
        """The markets as readers know them."""
        return {name: m.record() for name, m in self.markets.items() if not m.refused}

    def live(self, markets: Iterable[MarketState], at_ms: int) -> None:
        """From `at_ms` on, every trade of `markets` is received."""
        for market in markets:
            first_s = self.gaps.end(market.name, at_ms)
            if market.series.first_s == NOT_YET_LIVE:
                market.series.first_s = first_s

    def lost(self, markets: Iterable[MarketState], at_ms: int, reason: str) -> None:
        """After `at_ms`, trades of `markets` may have been missed."""
        self.gaps.begin((m.name for m in markets), uncertain_since(at_ms), reason)

    def refused(self, market: MarketState, reason: str) -> None:
        """The venue does not deliver this market."""
        market.refused = reason
        self.gaps.forget(market.name)
        _log.error("market refused by its exchange %s", kv(market=market.name, reason=reason))

    async def _keep_time(self) -> None:
        interval_s, grace_ms = self.builder.interval_s, self._settings.aggr_grace_ms
        while True:
            due_ms = (self.builder.next_s + interval_s) * 1000 + grace_ms
            await asyncio.sleep(max(0.001, (due_ms - now_ms()) / 1000))
            woke_ms = now_ms()
            if woke_ms < due_ms:
                continue
            self.lag_ms = woke_ms - due_ms
            self.metrics.loop_lag.observe(self.lag_ms / 1000)
            for closed in self.builder.advance(woke_ms):
                self._outlet.emit(closed)
            self.last_turn_ms = now_ms()

    async def _describe_markets(self) -> None:
        while True:
            await asyncio.sleep(MARKETS_EVERY_S)
            self.writer.add_markets(self.records().values(), now_ms() // 1000)

    async def _collect(self, adapter: Adapter) -> None:
        instruments = await self._discover(adapter)
        del self.undiscovered[adapter.name]
        feeds = self._follow(adapter, instruments)
        self._check_selection()
        async with asyncio.TaskGroup() as group:
            for feed in feeds:
                group.create_task(feed.run())

    async def _discover(self, adapter: Adapter) -> list[Instrument]:
        backoff = Backoff()
        while True:
            try:
                found = await discovery.discover(
                    adapter, self._session, self._settings.exchange_gateway
                )
            except DiscoveryFailed as error:
                self.undiscovered[adapter.name] = str(error)
                delay_s = max(error.retry_after_s, backoff.next())
                if self._complain(adapter.name):
                    _log.warning(
                        "markets not known yet %s",
                        kv(exchange=adapter.name, error=error, retry_s=round(delay_s, 1)),
                    )
                await asyncio.sleep(delay_s)
            else:
                return self._select(adapter, found)

    def _select(self, adapter: Adapter, found: list[Instrument]) -> list[Instrument]:
        if self._settings.aggr_markets:
            return discovery.by_names(adapter, found, canonical(self._settings.aggr_markets))
        return discovery.by_symbols(found, self._settings.aggr_symbols)

    def _follow(self, adapter: Adapter, instruments: list[Instrument]) -> list[Feed]:
        start_s = now_ms() // 1000
        states = []
        for instrument in instruments:
            series = self.builder.series(adapter.market(instrument))
            series.first_s = NOT_YET_LIVE
            states.append(MarketState(adapter, instrument, series))
        self.markets.update((state.name, state) for state in states)
        names = [state.name for state in states]
        self.gaps.begin(names, start_s, "start")
        self.writer.look_back(names, start_s)
        self.writer.add_markets([state.record() for state in states], start_s)
        self.bus.announce()
        _log.info("markets found %s", kv(exchange=adapter.name, markets=",".join(names)))
        feeds = self._feeds(adapter, states)
        self.feeds += feeds
        return feeds

    def _feeds(self, adapter: Adapter, states: list[MarketState]) -> list[Feed]:
        pacer = Pacer(adapter.connect_spacing_s)
        return [
            Feed(
                adapter,
                name,
                through_gateway(channel.url, self._settings.exchange_gateway),
                list(part),
                connector=self._connector,
                sink=self,
                pacer=pacer,
                batch=self._settings.aggr_batch_size,
            )
            for name, channel in adapter.channels.items()
            for part in batches(
                [s for s in states if s.instrument.channel == name],
                channel.max_streams // len(channel.carries),
            )
        ]

    def _check_selection(self) -> None:
        if self.undiscovered:
            return
        asked = ", ".join(adapter.name for adapter in self._adapters)
        if wanted := canonical(self._settings.aggr_markets):
            missing = [name for name in wanted if name not in self.markets]
            setting, remedy = "AGGR_MARKETS", "use EXCHANGE:symbol as /products shows them"
        else:
            bases = {state.instrument.base for state in self.markets.values()}
            missing = [s for s in self._settings.aggr_symbols if s.upper() not in bases]
            setting, remedy = "AGGR_SYMBOLS", "use base coins such as BTC"
        if not missing:
            return
        text = f"no dollar market for {setting}={','.join(missing)} at {asked}; {remedy}"
        if not self.markets:
            raise NothingToCollect(text)
        _log.error("some markets do not exist %s", kv(problem=text))


def canonical(markets: Iterable[str]) -> list[str]:
    """`EXCHANGE:symbol` with aliases of exchanges replaced. Raises `ValueError`."""
    names = []
    for market in markets:
        exchange, colon, symbol = market.partition(":")
        if not colon or not symbol:
            raise ValueError(f"{market!r} is no market: write EXCHANGE:symbol")
        names.append(f"{exchanges.get(exchange).name}:{symbol}")
    return names


def chosen_adapters(settings: CollectorSettings) -> list[Adapter]:
    """The venues the settings ask for. Raises `ValueError` naming the setting at fault."""
    try:
        setting = "AGGR_MARKETS"
        named = [market.partition(":")[0] for market in canonical(settings.aggr_markets)]
        setting = "AGGR_EXCHANGES"
        asked = [exchanges.get(name).name for name in settings.aggr_exchanges]
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error
    names = set(named) or set(asked) or set(exchanges.known())
    return [adapter for name, adapter in exchanges.known().items() if name in names]
