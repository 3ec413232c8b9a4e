"""Puts strategy-runner together and keeps its tasks running."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import uuid
from collections.abc import Callable
from logging import getLogger

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server import clock
from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from aggr_server.wire import Market
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.records import OpenInterest
from services.core.service import ready_file
from services.core.settings import StrategySettings
from services.freqtrade_client import FreqtradeClient
from services.influx_signal_manager import InfluxSignalManager
from services.market import markets
from services.market.assemble import Assembler
from services.market.backfill import Backfill
from services.market.history import History
from services.market.klines import Klines
from services.market.live import DATABASE_LAG_S, BarFeed
from services.market.markets import Directory
from services.signal_validator import Limits, SignalValidator
from services.strategy.params import Params
from services.trading.broadcast import Broadcast
from services.trading.crew import Crew, Part
from services.trading.cycle import Cycle, Intake
from services.trading.desk import Desk, Pace
from services.trading.fills import FillBook, FillsConsumer
from services.trading.halted import HaltWatch
from services.trading.leases import Leases
from services.trading.loader import Loader
from services.trading.outbox import Outbox
from services.trading.portfolio import Portfolio
from services.trading.pulse import ReplicaPulse
from services.trading.reconcile import Reconciler
from services.trading.recording import LeaderRecord
from services.trading.roles import Roles
from services.trading.signals import FAST_TTL_S, SLOW_TTL_S
from services.trading.stale import Staleness
from services.trading.standby import BEHIND_S, Handover
from services.trading.symbol import SymbolTrader

SERVICE = "strategy-runner"
DIRECTORY_EVERY_S = 60.0
DIRECTORY_RETRY_S = 5.0
FIRST_BAR_WAIT_S = 3.0
READY_AT_MOST_S = 300.0
"""After so long this replica counts as ready even if a symbol cannot be loaded: whoever waits for
it, as an update does, would wait for ever."""

PATTERN_S = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800}

_log = getLogger(__name__)


def traded_bases(settings: StrategySettings) -> tuple[str, ...]:
    """The base symbols that the replicas share, in the order of their importance."""
    return tuple(dict.fromkeys(base.upper() for base in settings.aggr_symbols))


def strategy_params(settings: StrategySettings) -> Params:
    """The strategy's parameters, with those that are settings."""
    return Params(
        lookback_s=settings.squeezeflow_lookback_hours * 3600,
        pattern_s=PATTERN_S[settings.squeezeflow_timeframe],
        div_gap_z=settings.squeezeflow_div_gap_z,
        min_score=settings.squeezeflow_min_score,
        oi_required=settings.squeezeflow_oi_required,
        cost_mult=settings.squeezeflow_cost_mult,
        round_trip_cost=settings.squeezeflow_round_trip_cost,
        max_hold_s=settings.squeezeflow_max_hold_s,
        cooldown_s=settings.squeezeflow_cooldown_s,
        cat_enabled=settings.squeezeflow_catastrophic_stop,
        gap_exit_enabled=settings.squeezeflow_gap_exit,
        max_leverage=settings.squeezeflow_max_leverage,
        max_open_positions=settings.squeezeflow_max_open_positions,
        max_daily_loss=settings.squeezeflow_max_daily_loss,
    )


def entry_limits(params: Params) -> Limits:
    """What the validator holds against every entry."""
    return Limits(
        min_score=params.min_score,
        max_leverage=params.max_leverage,
        max_open_positions=params.max_open_positions,
    )


class App:
    """All parts of strategy-runner. `lag_s`: how much InfluxDB is behind Redis at most."""

    def __init__(
        self,
        settings: StrategySettings,
        *,
        now_ms: Callable[[], int] = clock.now_ms,
        lag_s: float = float(DATABASE_LAG_S),
    ) -> None:
        self.settings = settings
        self.now_ms = now_ms
        self.redis: Redis = redis_client(settings)
        self._blocking: Redis = redis_client(settings, socket_timeout_s=None)
        self.influx = InfluxClient(settings)
        self.history = History(self.influx)
        self.backfill = (
            Backfill(self.influx, self.history, Klines(settings.exchange_gateway))
            if settings.squeezeflow_backfill
            else None
        )
        self.freqtrade = FreqtradeClient(settings)
        self.record = InfluxSignalManager(self.influx)
        redis_at = f"{settings.redis_host}:{settings.redis_port}"
        influx_at = f"{settings.influx_host}:{settings.influx_port}"
        self._redis_outage = redis_outage = Outage("Redis", redis_at)
        self._influx_outage = Outage("InfluxDB", influx_at)
        bases = traded_bases(settings)
        params = strategy_params(settings)
        self.directory = Directory(bases)
        self._classified = asyncio.Event()
        exchange = settings.squeezeflow_execution_exchange
        self.traders = {base: SymbolTrader(base, params, exchange) for base in bases}
        symbols = [trader.names.symbol for trader in self.traders.values()]
        owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.leases = Leases(
            self.redis,
            symbols,
            owner,
            limit=settings.squeezeflow_max_symbols,
            ready=lambda: self.roles.ready(),
            warm=lambda symbol: self.roles.warm(symbol),
            outage=redis_outage,
        )
        self._slowest_s = settings.squeezeflow_run_interval + settings.squeezeflow_data_interval - 2
        self.outbox = Outbox(
            self.redis,
            now_ms=now_ms,
            may_show=self.leases.held,
            fence=self.leases.fence,
            slots=lambda: self.desk.slots,
            limits=entry_limits(params),
            refresh=settings.squeezeflow_enable_1s_mode,
            outage=redis_outage,
        )
        self.told = LeaderRecord(self.record, self.outbox)
        self.desk = self._make_desk(params)
        self.outbox.on_refused = self.desk.not_published
        self.outbox.on_slots = self.desk.reserved
        self.assembler = Assembler(self.directory.base_of)
        self.feed = self._make_feed()
        self.handover = Handover(
            self.desk,
            self.redis,
            self.told,
            batch=settings.squeezeflow_1s_batch_size,
            leads=self.leases.keeps,
            inherit=self.outbox.inherit,
        )
        self.loader = self._make_loader(lag_s)
        self.reconciler = Reconciler(
            self.freqtrade, self.desk, self.record, self.history, self.directory, self.redis, now_ms
        )
        book = FillBook(self.desk, self.reconciler.ask)
        self.reconciler.use(book)
        self.fills = FillsConsumer(
            self._blocking, book, self.leases, owner, redis_outage, self.outbox.acknowledge
        )
        self.roles = Roles(
            self.desk,
            self.leases,
            self.outbox,
            self.loader,
            self.handover,
            self._make_staleness(lag_s),
            known=self._classified,
            parallel=settings.squeezeflow_parallel_processing,
            on_live=self.reconciler.ask,
            on_lost=book.forget,
        )
        self.cycle = self._make_cycle()
        self.broadcast = Broadcast(self.redis, self.desk, self.leases, outage=redis_outage)
        self.cycle.on_written = self.broadcast.turned

    def _make_desk(self, params: Params) -> Desk:
        limits = entry_limits(params)
        fast = self.settings.squeezeflow_enable_1s_mode
        integrated = self.settings.freqtrade_enable_integration
        return Desk(
            self.traders.values(),
            validator=SignalValidator(limits),
            portfolio=Portfolio(
                integrated=integrated, now_ms=self.now_ms, max_daily_loss=params.max_daily_loss
            ),
            outbox=self.outbox,
            record=self.told,
            leases=self.leases,
            pace=Pace(
                FAST_TTL_S if fast else SLOW_TTL_S,
                limits.max_age_s + self._slowest_s,
                BEHIND_S + self._slowest_s,
            ),
            now_ms=self.now_ms,
        )

    def _make_feed(self) -> BarFeed:
        return BarFeed(
            self._blocking,
            self.history,
            self.assembler,
            self._markets,
            self._on_open_interest,
            self.now_ms,
            redis_outage=self._redis_outage,
            influx_outage=self._influx_outage,
        )

    def _make_loader(self, lag_s: float) -> Loader:
        return Loader(
            self.desk,
            self.history,
            self.directory,
            self.handover,
            self.redis,
            execution_exchange=self.settings.squeezeflow_execution_exchange,
            batch=self.settings.squeezeflow_1s_batch_size,
            now_ms=self.now_ms,
            influx_outage=self._influx_outage,
            lag_s=lag_s,
            backfill=self.backfill,
        )

    def _make_staleness(self, lag_s: float) -> Staleness:
        return Staleness(
            self.assembler,
            self.directory,
            self.backfill,
            execution_exchange=self.settings.squeezeflow_execution_exchange,
            leads=self.leases.keeps,
            now_ms=self.now_ms,
            influx_outage=self._influx_outage,
            lag_s=lag_s,
        )

    def _make_cycle(self) -> Cycle:
        return Cycle(
            self.feed,
            Intake(self.settings.squeezeflow_data_interval, self.settings.squeezeflow_run_interval),
            self.desk,
            self.outbox,
            ReplicaPulse(SERVICE, self.settings, self.redis, self.leases),
            batch=self.settings.squeezeflow_1s_batch_size,
            slowest_s=self._slowest_s,
            now_ms=self.now_ms,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. A task that fails ends all others and raises."""
        crew = Crew()
        parts: list[Part] = [
            self._directory_loop,
            self.cycle.run,
            self.outbox.run,
            self.record.run,
            self.fills.run,
            self.broadcast.run,
            HaltWatch(self.redis, self.desk.portfolio, self._redis_outage).run,
            self._tell_ready,
            functools.partial(self._follow, crew),
        ]
        if self.settings.freqtrade_enable_integration:
            parts.append(self.reconciler.run)
        try:
            for part in parts:
                crew.start(part)
            self.roles.start(crew)
            await crew.until(stop)
            self.roles.stop()
            await self._write_last()
        finally:
            await self.freqtrade.close()
            if self.backfill is not None:
                await self.backfill.close()
            await self.influx.close()
            await self.redis.aclose()
            await self._blocking.aclose()

    async def _tell_ready(self) -> None:
        """Say so once every symbol could be taken over from another replica."""
        file = ready_file(self.settings, SERVICE)
        file.unlink(missing_ok=True)
        began = asyncio.get_running_loop().time()
        while not self.roles.ready():
            if asyncio.get_running_loop().time() - began > READY_AT_MOST_S:
                _log.warning("not all symbols are loaded yet")
                break
            await asyncio.sleep(0.5)
        file.touch()

    async def _write_last(self) -> None:
        for trader in self.traders.values():
            if trader.live and trader.names.symbol in self.leases.kept:
                self.desk.save(trader)
        try:
            await self.outbox.flush()
            await self.leases.release()
        except RedisError as error:
            _log.warning("last state not written %s", kv(error=error))
        await self.record.drain()

    async def _follow(self, crew: Crew) -> None:
        # Bars of markets whose class is not known could not be used.
        await self._classified.wait()
        for part in (*self.feed.parts(), self._first_second):
            crew.start(part)

    async def _first_second(self) -> None:
        # Without a message the seconds begin by the clock and come out of InfluxDB.
        await self.feed.subscribed(FIRST_BAR_WAIT_S)
        await asyncio.sleep(FIRST_BAR_WAIT_S)
        if self.assembler.next_t is None:
            _log.warning(
                "no bars on the channel %s", kv(remedy="start Redis and aggr-server; retrying")
            )
            self.assembler.start_at(self.now_ms() // 1000 - DATABASE_LAG_S)

    async def _directory_loop(self) -> None:
        while True:
            known = await self._refresh_directory()
            deadline = asyncio.get_running_loop().time() + DIRECTORY_EVERY_S
            while known and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(DIRECTORY_RETRY_S)
                if self.directory.unknown_seen:
                    break
            if not known:
                await asyncio.sleep(DIRECTORY_RETRY_S / 5)

    async def _refresh_directory(self) -> bool:
        changed = await markets.refresh(
            self.directory,
            self.redis,
            self.influx,
            redis_outage=self._redis_outage,
            influx_outage=self._influx_outage,
        )
        if changed:
            for base, trader in self.traders.items():
                trader.aggregator.add_markets(self.directory.of_base(base))
        if self.directory.started:
            self._classified.set()
        return self.directory.complete

    def _markets(self) -> list[Market]:
        return [m for base in self.traders for m in self.directory.of_base(base)]

    def _on_open_interest(self, sample: OpenInterest) -> None:
        if trader := self.traders.get(sample.base):
            trader.oi.add(sample.exchange, sample.ts_ms // 1000, sample.coins)
