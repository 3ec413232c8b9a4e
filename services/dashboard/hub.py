"""Keeps the last hours of every symbol warm, from the collectors' live bars."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from logging import getLogger

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import CHANNEL, Bar, ClosedSecond, Gap, Market, decode
from services.core.channels import Channels
from services.core.outage import Outage
from services.dashboard.readback import AGAIN_S, ReadBack
from services.dashboard.sequence import Sequences
from services.dashboard.stored import StoredBars
from services.dashboard.symbol import SymbolBars
from services.market import markets
from services.market.aggregate import preferred_market
from services.market.history import History
from services.market.live import DATABASE_LAG_S, SILENT_MS
from services.market.markets import Directory
from services.market.symbols import symbol_of
from services.trading.crew import Part

DIRECTORY_EVERY_S = 60.0
RETRY_S = 1.0
FOLLOW_EVERY_S = 2.0
_log = getLogger(__name__)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Hub:
    """`symbols`: by name, such as BTCUSDT. `on_change` is called when seconds have changed, with
    the spans that were read back, empty for live ones; `on_gaps` with the records of a message.

    `listening`: a client whose connections wait without a limit, for the channel. `watched`: tells
    whether anybody looks, so that what is away is worth being asked for otherwise.
    """

    def __init__(
        self,
        redis: Redis,
        listening: Redis,
        influx: InfluxClient,
        bases: Sequence[str],
        execution_exchange: str,
        *,
        redis_outage: Outage,
        influx_outage: Outage,
        watched: Callable[[], bool] = lambda: False,
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._redis = redis
        self._influx = influx
        self._exchange = execution_exchange
        self._redis_outage = redis_outage
        self._influx_outage = influx_outage
        self._watched = watched
        self._now_ms = now_ms
        self.directory = Directory(bases)
        self.symbols = {symbol_of(base): SymbolBars(base) for base in bases}
        self._by_base = {symbol.base: symbol for symbol in self.symbols.values()}
        self._history = History(influx)
        self._sequences = Sequences()
        self._last_ms = 0
        self._unreadable = 0
        self._classified = False
        self._channels = Channels(
            listening, {CHANNEL: self._on_message}, redis_outage, self._on_subscribed
        )
        self._readback = ReadBack(
            StoredBars(influx),
            markets=self.directory.of_base,
            on_read=self._on_read,
            outage=influx_outage,
            now_ms=now_ms,
        )
        self.on_change: Callable[[SymbolBars, list[tuple[int, int]]], None] = lambda *_: None
        self.on_gaps: Callable[[Iterable[Gap]], None] = lambda _: None

    @property
    def live(self) -> bool:
        """Whether bars come over the channel now."""
        return self.subscribed and self._now_ms() - self._last_ms < SILENT_MS

    @property
    def subscribed(self) -> bool:
        """Whether the channel of the bars is heard."""
        return self._channels.subscribed

    @property
    def problem(self) -> str:
        """Why InfluxDB could not be read; empty if it could, or was not asked."""
        return self._readback.problem

    def parts(self) -> tuple[Part, ...]:
        """What has to run; whatever is away is tried again for ever."""
        return self._know_markets, self._channels.run, self._readback.run, self._follow_influx

    async def _know_markets(self) -> None:
        due = 0.0
        while True:
            if time.monotonic() >= due or self.directory.unknown_seen:
                known = await self._refresh()
                due = time.monotonic() + (DIRECTORY_EVERY_S if known else 0.0)
            await asyncio.sleep(RETRY_S)

    async def _refresh(self) -> bool:
        """Read the directory; False if a symbol's markets are not known yet."""
        changed = await markets.refresh(
            self.directory,
            self._redis,
            self._influx,
            redis_outage=self._redis_outage,
            influx_outage=self._influx_outage,
        )
        self._classified = self.directory.started
        for symbol in self._by_base.values():
            if changed and symbol.reference:
                # Bars of markets not known until now were left out.
                to_s = self._now_ms() // 1000
                self._readback.want(symbol, to_s - 2 * AGAIN_S, to_s)
            await self._refer(symbol)
        return self.directory.complete

    async def _refer(self, symbol: SymbolBars) -> None:
        """Find the market whose prices are shown; if it is another one, read the past anew."""
        listed = self.directory.of_base(symbol.base)
        preferred = preferred_market(listed, self._exchange)
        if preferred is not None:
            reference = preferred.market
        elif symbol.reference or not listed:
            return
        else:
            reference = await self._busiest(listed)
        if reference and reference != symbol.reference:
            symbol.reference = reference
            _log.info("prices shown %s", kv(base=symbol.base, market=reference))
            self._readback.load(symbol)

    async def _busiest(self, listed: Sequence[Market]) -> str:
        chosen = [m for m in listed if m.kind == "perp"] or list(listed)
        to_s = self._now_ms() // 1000
        try:
            volumes = await self._history.volumes(chosen, to_s - 14_400, to_s)
        except (InfluxError, InfluxUnavailable) as error:
            self._influx_outage.failed(error)
            volumes = {}
        return max(chosen, key=lambda m: (volumes.get(m.market, 0.0), m.market)).market

    def _on_subscribed(self) -> None:
        self._sequences.forget()
        to_s = self._now_ms() // 1000
        for symbol in self._by_base.values():
            if symbol.ring.end and symbol.reference:
                from_s = min(symbol.ring.end, to_s) - AGAIN_S
                self._readback.want(symbol, from_s, to_s)

    def _on_message(self, data: bytes) -> None:
        try:
            message = decode(data)
        except msgspec.MsgspecError as error:
            self._unreadable += 1
            if self._unreadable & (self._unreadable - 1) == 0:  # 1st, 2nd, 4th, 8th, ...
                _log.warning("bars not readable %s", kv(count=self._unreadable, error=error))
            return
        self._last_ms = self._now_ms()
        if not self._classified:
            return  # its bars could not be used, and are read back with all others
        missed = self._sequences.follow(message)
        bars = self._by_symbol(message)
        for base, symbol in self._by_base.items():
            symbol.reach(message.second)
            unknown = symbol.take(bars.get(base, ()))
            if unknown:
                self._readback.want(symbol, min(unknown), max(unknown) + 1)
            if missed is not None and symbol.reference:
                self._readback.want(symbol, missed[0], missed[1])
            self.on_change(symbol, [])
        if message.gaps:
            self.on_gaps(message.gaps)

    def _by_symbol(self, message: ClosedSecond) -> dict[str, list[tuple[Bar, Market]]]:
        found: dict[str, list[tuple[Bar, Market]]] = {}
        for bars in (message.amended, message.bars):
            for bar in bars:
                if (market := self.directory.get(bar.market)) is not None:
                    found.setdefault(market.base, []).append((bar, market))
        return found

    def _on_read(self, symbol: SymbolBars, spans: list[tuple[int, int]]) -> None:
        if spans:
            self.on_change(symbol, spans)

    async def _follow_influx(self) -> None:
        """While no bars come and somebody looks: what the collectors write goes on."""
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            if self.live or not self._watched():
                continue
            to_s = self._now_ms() // 1000 - DATABASE_LAG_S
            for symbol in self._by_base.values():
                if symbol.reference:
                    symbol.reach(to_s - 1)
                    self._readback.want(symbol, to_s - AGAIN_S, to_s)
