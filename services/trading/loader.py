"""Brings a symbol up to date: history from InfluxDB, replayed through the engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import Gap, Market
from services.core import names
from services.core.outage import Outage
from services.market.aggregate import Aggregator, preferred_market
from services.market.backfill import Backfill
from services.market.bars import ClosedBars
from services.market.history import CHUNK_S, History
from services.market.markets import Directory
from services.strategy.types import Entry, Minute
from services.trading.desk import Desk
from services.trading.standby import BEHIND_S, STATE_MAX_AGE_S, Handover
from services.trading.symbol import Saved, SymbolTrader
from services.trading.warmup import shortage

SCALE_MINUTES = 1681
EPOCH_MAX_AGE_S = 4 * 3600
RETRY_CAP_S = 10.0

_log = getLogger(__name__)


class Loader:
    """Loads symbols to be led or to be followed. `batch`: seconds before others get a turn.

    `lag_s`: how long after a second InfluxDB certainly has its bars.
    """

    def __init__(
        self,
        desk: Desk,
        history: History,
        directory: Directory,
        handover: Handover,
        redis: Redis,
        *,
        execution_exchange: str,
        batch: int,
        now_ms: Callable[[], int],
        influx_outage: Outage,
        lag_s: float = 3.0,
        backfill: Backfill | None = None,
    ) -> None:
        self._influx_outage = influx_outage
        self._desk = desk
        self._history = history
        self._directory = directory
        self._handover = handover
        self._redis = redis
        self._exchange = execution_exchange
        self._batch = batch
        self._now_ms = now_ms
        self._lag_s = lag_s
        self._backfill = backfill

    async def load(self, trader: SymbolTrader, *, lead: bool = True, anew: bool = False) -> None:
        """Load until it succeeds, then let the symbol go live, or follow it without deciding.

        The backlog, which starts with the second after those loaded, is worked off on the way.
        `anew`: because the database knows better; no saved state is put onto it.
        """
        delay_s = 1.0
        while not await self._try(trader, lead=lead, anew=anew):
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(RETRY_CAP_S, delay_s * 2)

    async def _try(self, trader: SymbolTrader, *, lead: bool, anew: bool) -> bool:
        trader.reset()
        markets = self._directory.of_base(trader.names.base)
        if not markets:
            _log.warning(
                "no market known, waiting %s",
                kv(base=trader.names.base, remedy="start aggr-server with this symbol"),
            )
            return False
        while not trader.backlog:
            await trader.next_one()
        until = trader.backlog[0].t - 1
        # What they bring late of seconds before is in the database, and would count twice.
        for i, waiting in enumerate(trader.backlog):
            trader.backlog[i] = waiting._replace(late={})
        try:
            saved = None
            if lead and not anew:
                saved = await self._handover.saved(trader, until + 1 - STATE_MAX_AGE_S)
            await self._replay(trader, markets, until, saved, lead=lead)
            if saved is not None and saved.t > until:
                await self._handover.resume(trader, saved)
            if lead:
                await self._anchor(trader)
        except InfluxUnavailable as error:
            self._influx_outage.failed(error)
            return False
        except InfluxError as error:
            _log.error("history refused %s", kv(symbol=trader.names.symbol, error=error))
            return False
        except ValueError as error:
            _log.warning("state not resumed %s", kv(symbol=trader.names.symbol, error=error))
            if lead:
                await self._handover.forget(trader)
            return False
        self._influx_outage.over()
        if lead:
            return await self._handover.go_live(trader)
        trader.standby = True
        return True

    async def _replay(
        self,
        trader: SymbolTrader,
        markets: Sequence[Market],
        until: int,
        saved: Saved | None,
        *,
        lead: bool,
    ) -> None:
        start = (until + 1 - trader.params.lookback_s) // 60 * 60
        start = await self._preload(trader, markets, start, until)
        gaps = await self._history.gaps(markets, start, until + 1)
        stepped = 0
        newest: list[ClosedBars] = []
        async for closed in self._seconds(trader.names.base, markets, gaps, start, until + 1):
            if not lead and closed.t > until - BEHIND_S:
                newest.append(closed)
            elif not lead or (saved is not None and closed.t <= saved.t):
                if (second := trader.aggregate(closed)) is not None:
                    trader.remember(second)
                if saved is not None and closed.t == saved.t:
                    trader.resume(saved)
            elif saved is not None:
                self._desk.step_one(trader, closed)
            else:
                for event in trader.step(closed):
                    if isinstance(event, Entry):
                        trader.engine.expire()
            stepped += 1
            if stepped % self._batch == 0:
                await asyncio.sleep(0)
        # What is only followed stays behind the newest state of its leader from the start.
        trader.backlog.extendleft(reversed(newest))
        self._report(trader, resumed=saved is not None, lead=lead)

    async def _preload(
        self, trader: SymbolTrader, markets: Sequence[Market], start: int, until: int
    ) -> int:
        """Load what is older than the seconds; the second at which these begin."""
        trader.aggregator = Aggregator(markets, self._exchange)
        reference = preferred_market(markets, self._exchange)
        from_s = start - (SCALE_MINUTES - trader.params.lookback_s // 60) * 60
        minutes: list[Minute] = []
        if reference is not None and self._backfill is not None:
            end = (until + 1) // 60 * 60
            filled = await self._backfill.minutes(markets, reference, from_s, end)
            start = max(start, filled.whole_from)
            trader.filled, trader.usable_at = filled.minutes, filled.usable_at
            minutes = filled.table.axis(start)
        elif reference is not None:
            minutes = await self._history.minutes(markets, reference, from_s, start)
        base = trader.names.base
        # Also what is newer than `until`: it came before anybody kept it for this symbol.
        arrived, to_s = trader.oi, max(until, self._now_ms() // 1000) + 1
        trader.oi = await self._history.open_interest(base, from_s, to_s)
        trader.oi.extend(arrived)
        minutes = [minute._replace(oi=trader.oi.at(minute.t + 59)) for minute in minutes]
        trader.engine.preload_minutes(minutes)
        volumes = await self._history.volumes(markets, start - 86_400, start)
        trader.aggregator.seed(volumes, minutes[-1].close if minutes else None)
        return start

    async def _seconds(
        self, base: str, markets: Sequence[Market], gaps: Sequence[Gap], start: int, end: int
    ) -> AsyncIterator[ClosedBars]:
        for from_s in range(start, end, CHUNK_S):
            to_s = min(from_s + CHUNK_S, end)
            if to_s == end:
                await asyncio.sleep(max(0.0, end + self._lag_s - self._now_ms() / 1000))
            bars = await self._history.seconds(markets, from_s, to_s)
            for t in range(from_s, to_s):
                silent = frozenset(g.market for g in gaps if g.from_s <= t < g.to_s)
                yield ClosedBars(t, {base: bars.pop(t, {})}, silent=silent)

    async def _anchor(self, trader: SymbolTrader) -> None:
        raw = await self._get(names.cvd_epoch(trader.names.base))
        if raw is None or trader.engine.t is None:
            return
        try:
            epoch = msgspec.json.decode(raw)
            t = int(epoch["t"])
            if trader.engine.t - EPOCH_MAX_AGE_S < t <= trader.engine.t:
                trader.engine.anchor(
                    str(epoch["epoch_id"]), t, float(epoch["C_S"]), float(epoch["C_P"])
                )
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            _log.warning("CVD starts anew %s", kv(symbol=trader.names.symbol, error=error))

    async def _get(self, key: str) -> bytes | None:
        try:
            value = await self._redis.get(key)
        except RedisError as error:
            _log.warning("not read from Redis %s", kv(key=key, error=error))
            return None
        return value.encode() if isinstance(value, str) else value

    def _report(self, trader: SymbolTrader, *, resumed: bool, lead: bool) -> None:
        symbol, loaded = trader.names.symbol, trader.engine.loaded
        _log.info(
            "history loaded %s",
            kv(
                symbol=symbol,
                until=trader.engine.t,
                minutes=loaded.minutes,
                seconds=loaded.seconds,
                backfilled=len(trader.filled),
                state=trader.engine.state,
                resumed=resumed,
                lead=lead,
                markets=len(self._directory.of_base(trader.names.base)),
            ),
        )
        lack = shortage(trader) if lead else None
        if lack is not None and lack.holds_up:
            details = lack.details()
            _log.warning(
                "too little history, no decisions yet %s",
                kv(symbol=symbol, warm_at=details["warm_at"] or "unknown", **lack.missing),
            )
