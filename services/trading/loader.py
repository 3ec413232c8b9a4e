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
from services.influx_signal_manager import iso
from services.market.aggregate import Aggregator, preferred_market
from services.market.bars import ClosedBars
from services.market.history import CHUNK_S, History
from services.market.markets import Directory
from services.strategy.types import Entry, Minute, Second
from services.trading.desk import Desk
from services.trading.symbol import Saved, SymbolTrader

SCALE_MINUTES = 1681
STATE_MAX_AGE_S = 120
EPOCH_MAX_AGE_S = 4 * 3600
RETRY_CAP_S = 10.0

_log = getLogger(__name__)


class Loader:
    """Loads symbols. `batch`: seconds replayed before others get a turn.

    `lag_s`: how long after a second InfluxDB certainly has its bars.
    """

    def __init__(
        self,
        desk: Desk,
        history: History,
        directory: Directory,
        redis: Redis,
        *,
        execution_exchange: str,
        batch: int,
        now_ms: Callable[[], int],
        influx_outage: Outage,
        lag_s: float = 3.0,
    ) -> None:
        self._influx_outage = influx_outage
        self._desk = desk
        self._history = history
        self._directory = directory
        self._redis = redis
        self._exchange = execution_exchange
        self._batch = batch
        self._now_ms = now_ms
        self._lag_s = lag_s

    async def load(self, trader: SymbolTrader) -> None:
        """Load until it succeeds, then let the symbol go live.

        The backlog, which starts with the second after those loaded, is worked off on the way.
        """
        delay_s = 1.0
        while not await self._try(trader):
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(RETRY_CAP_S, delay_s * 2)

    async def _try(self, trader: SymbolTrader) -> bool:
        trader.reset()
        markets = self._directory.of_base(trader.names.base)
        if not markets:
            _log.warning(
                "no market known, waiting %s",
                kv(base=trader.names.base, remedy="start aggr-server with this symbol"),
            )
            return False
        await trader.arrived.wait()
        until = trader.backlog[0].t - 1
        try:
            saved = await self._saved(trader, until)
            await self._replay(trader, markets, until, saved)
            await self._anchor(trader)
        except InfluxUnavailable as error:
            self._influx_outage.failed(error)
            return False
        except InfluxError as error:
            _log.error("history refused %s", kv(symbol=trader.names.symbol, error=error))
            return False
        except ValueError as error:
            _log.warning("state not resumed %s", kv(symbol=trader.names.symbol, error=error))
            await self._forget(trader)
            return False
        self._influx_outage.over()
        return await self._catch_up(trader)

    async def _replay(
        self, trader: SymbolTrader, markets: Sequence[Market], until: int, saved: Saved | None
    ) -> None:
        start = (until + 1 - trader.params.lookback_s) // 60 * 60
        minutes = await self._preload(trader, markets, start, until)
        gaps = await self._history.gaps(markets, start, until + 1)
        behind: list[Second] = []
        stepped = 0
        async for closed in self._seconds(trader.names.base, markets, gaps, start, until + 1):
            if saved is not None and closed.t <= saved.t:
                if (second := trader.aggregate(closed)) is not None:
                    behind.append(second)
                if closed.t == saved.t:
                    trader.engine.preload_seconds(behind)
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
        self._report(trader, minutes, start, until, resumed=saved is not None)

    async def _preload(
        self, trader: SymbolTrader, markets: Sequence[Market], start: int, until: int
    ) -> int:
        trader.aggregator = Aggregator(markets, self._exchange)
        reference = preferred_market(markets, self._exchange)
        from_s = start - (SCALE_MINUTES - trader.params.lookback_s // 60) * 60
        minutes: list[Minute] = []
        if reference is not None:
            minutes = await self._history.minutes(markets, reference, from_s, start)
        base = trader.names.base
        trader.oi = await self._history.open_interest(base, from_s, until + 1)
        minutes = [minute._replace(oi=trader.oi.at(minute.t + 59)) for minute in minutes]
        trader.engine.preload_minutes(minutes)
        volumes = await self._history.volumes(markets, start - 86_400, start)
        trader.aggregator.seed(volumes, minutes[-1].close if minutes else None)
        return len(minutes)

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

    async def _catch_up(self, trader: SymbolTrader) -> bool:
        expected = (trader.engine.t or trader.backlog[0].t - 1) + 1
        if trader.backlog[0].t != expected and trader.engine.t is not None:
            _log.warning("backlog overrun, loading again %s", kv(symbol=trader.names.symbol))
            return False
        done = 0
        while trader.backlog:
            self._desk.step_one(trader, trader.backlog.popleft())
            done += 1
            if done % self._batch == 0:
                await asyncio.sleep(0)
        trader.live = True
        self._show(trader)
        return True

    def _show(self, trader: SymbolTrader) -> None:
        symbol, state = trader.names.symbol, str(trader.engine.state)
        message: dict[str, object] = {
            "symbol": symbol,
            "t": trader.engine.t,
            "state": state,
            "reason": "start",
        }
        self._desk.outbox.status(symbol, state, message)
        if trader.signal is not None and trader.takes_slot:
            self._desk.outbox.show(trader.signal)
        self._desk.save(trader)
        _log.info("live %s", kv(symbol=symbol, state=state, t=trader.engine.t))

    async def _saved(self, trader: SymbolTrader, until: int) -> Saved | None:
        raw = await self._get(names.state(trader.names.symbol))
        if raw is None:
            return None
        try:
            saved = msgspec.json.decode(raw, type=Saved)
        except msgspec.MsgspecError as error:
            _log.warning("saved state not readable %s", kv(error=error))
            return None
        fits = until + 1 - STATE_MAX_AGE_S <= saved.t <= until
        return saved if fits else None

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

    async def _forget(self, trader: SymbolTrader) -> None:
        # A state that cannot be resumed must not be tried again and again.
        try:
            await self._redis.delete(names.state(trader.names.symbol))
        except RedisError as error:
            _log.warning("state not removed %s", kv(error=error))

    def _report(
        self, trader: SymbolTrader, minutes: int, start: int, until: int, *, resumed: bool
    ) -> None:
        view = trader.engine
        have = minutes + ((until + 1 - start) // 60 if view.t is not None else 0)
        need = trader.params.warm_min
        _log.info(
            "history loaded %s",
            kv(
                symbol=trader.names.symbol,
                minutes=have,
                state=view.state,
                resumed=resumed,
                markets=len(self._directory.of_base(trader.names.base)),
            ),
        )
        if minutes + trader.params.lookback_s // 60 < need or view.t is None:
            missing = need - have
            _log.warning(
                "too little history, no decisions yet %s",
                kv(
                    symbol=trader.names.symbol,
                    minutes=have,
                    needed=need,
                    warm_at=iso((until + max(0, missing) * 60) * 1000),
                ),
            )
