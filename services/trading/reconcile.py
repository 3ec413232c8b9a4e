"""Compares what is believed here with what freqtrade holds. freqtrade is right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from services.core import names
from services.core.records import Fill
from services.freqtrade_client import FreqtradeClient, FreqtradeRefused, FreqtradeUnreachable, Trade
from services.influx_signal_manager import InfluxSignalManager, PointKey, iso, outcome_of
from services.market.history import History
from services.market.markets import Directory
from services.strategy.types import OpenPosition, State
from services.trading.baselines import Baseline
from services.trading.desk import Desk
from services.trading.fills import FillBook
from services.trading.portfolio import symbol_of_pair
from services.trading.signals import Holding
from services.trading.symbol import SymbolTrader

EVERY_S = 60.0
RETRY_S = 5.0
JUST_NOW_MS = 10_000
DATABASE_BEHIND_S = 60
UNRESOLVED_AFTER_MS = 150_000
TAG = "sf:"

_log = getLogger(__name__)


class Reconciler:
    """At start, every minute, and when asked."""

    def __init__(
        self,
        client: FreqtradeClient,
        desk: Desk,
        record: InfluxSignalManager,
        history: History,
        directory: Directory,
        redis: Redis,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._desk = desk
        self._record = record
        self._history = history
        self._directory = directory
        self._redis = redis
        self._now_ms = now_ms
        self._asked = asyncio.Event()
        self._book: FillBook | None = None
        self._refused = ""

    def use(self, book: FillBook) -> None:
        """Where trades that were missed are applied."""
        self._book = book

    def ask(self) -> None:
        """Reconcile soon."""
        self._asked.set()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        while True:
            reached = await self.once()
            try:
                async with asyncio.timeout(EVERY_S if reached else RETRY_S):
                    await self._asked.wait()
                await asyncio.sleep(0.2)  # several askers, one answer
            except TimeoutError:
                pass
            self._asked.clear()

    async def once(self) -> bool:
        """Compare once; False if freqtrade's state could not be read."""
        asked_ms = self._now_ms()
        try:
            config = await self._client.show_config()
            opened = await self._client.status()
            closed = await self._client.trades()
            balance = await self._client.balance()
        except (FreqtradeUnreachable, FreqtradeRefused) as error:
            self._lost(error)
            return False
        if self._desk.portfolio.problem:
            _log.info("freqtrade answers %s", kv(dry_run=config.dry_run, open=len(opened)))
        wanted = self._desk.validator.limits.max_open_positions
        if 0 < config.max_open_trades < wanted:
            text = (
                f"freqtrade opens {config.max_open_trades:.0f} trades at most, the strategy "
                f"{wanted}: raise max_open_trades or lower SQUEEZEFLOW_MAX_OPEN_POSITIONS"
            )
            self._desk.alert("warning", "too_few_slots", text, every_s=86_400)
        self._desk.portfolio.update(opened, closed, balance.total, config.dry_run)
        for trader in self._desk.traders.values():
            if trader.live:
                await self._compare(trader, opened, closed, asked_ms)
        await self._resolve_outcomes(opened, closed)
        return True

    def _lost(self, error: Exception) -> None:
        first = not self._desk.portfolio.problem or "has not answered yet" in (
            self._desk.portfolio.problem
        )
        self._desk.portfolio.lost(str(error))
        if first:
            kind = "refuses" if isinstance(error, FreqtradeRefused) else "is not reachable"
            _log.warning("freqtrade %s, no new entries %s", kind, kv(error=error))

    async def _compare(
        self,
        trader: SymbolTrader,
        opened: Sequence[Trade],
        closed: Sequence[Trade],
        asked_ms: int,
    ) -> None:
        there = next((t for t in opened if symbol_of_pair(t.pair) == trader.names.symbol), None)
        here = trader.engine.trade_id if trader.has_position else None
        if there is not None:
            if there.open_fill_timestamp is not None and here != there.trade_id:
                await self._take(trader, there)
        elif here is not None and self._settled(trader, asked_ms):
            gone = next((t for t in closed if t.trade_id == here), None)
            self._gone(trader, here, gone)

    @staticmethod
    def _settled(trader: SymbolTrader, asked_ms: int) -> bool:
        # A trade opened while freqtrade was being asked is not missing.
        opened_ms = trader.opened_ms
        return opened_ms is None or opened_ms < asked_ms - JUST_NOW_MS

    async def _take(self, trader: SymbolTrader, trade: Trade) -> None:
        signal_id = _signal_id(trade)
        holding = trader.holding
        if holding and holding.signal_id == signal_id and holding.trade_id is None:
            self._apply(_fill("opened", trader, trade))
        elif trader.engine.state is not State.WARMUP or trader.engine.t is not None:
            await self._adopt(trader, trade, signal_id)

    async def _adopt(self, trader: SymbolTrader, trade: Trade, signal_id: str) -> None:
        opened_s = (trade.open_fill_timestamp or trade.open_timestamp) // 1000
        baseline = await self._baseline(trade.trade_id)
        engine = trader.engine
        # The newest seconds may not have reached the database yet, but they are known here.
        edge = max(opened_s, trader.known_since((engine.t or 0) - DATABASE_BEHIND_S))
        at_edge = trader.cvd_at(edge)
        try:
            markets = self._directory.of_base(trader.names.base)
            since = await self._history.deltas(markets, opened_s + 1, edge + 1)
            key = await self._record.find(signal_id) if signal_id else None
        except (InfluxUnavailable, InfluxError) as error:
            _log.warning("position not adopted yet %s", kv(error=error))
            return
        if not trader.live or trader.engine is not engine or engine.trade_id == trade.trade_id:
            return
        spot = since["spot"] + engine.c_spot - at_edge[0]
        perp = since["perp"] + engine.c_perp - at_edge[1]
        position = _position(trader, trade, signal_id, baseline, spot, perp)
        trader.holding = _holding(trader, trade, position, baseline, key)
        trader.signal = None
        _log.info("position adopted %s", kv(symbol=trader.names.symbol, trade_id=trade.trade_id))
        if baseline is None:
            self._desk.alert(
                "warning",
                "adopted_without_baseline",
                f"trade {trade.trade_id}: CVD since entry taken from the database",
                trader.names.symbol,
            )
        if self._book is not None:
            # After a restored backup a trade is open again whose end has been told before.
            self._book.forget(trader.names.symbol)
        self._desk.outbox.withdraw(trader.names.symbol)
        self._desk.settle(trader, engine.adopt(position))
        self._desk.save(trader)

    def _gone(self, trader: SymbolTrader, trade_id: int, trade: Trade | None) -> None:
        if trade is not None:
            self._apply(_fill("closed", trader, trade))
            return
        text = f"trade {trade_id} is unknown to freqtrade; its outcome is not known"
        self._desk.alert("critical", "trade_vanished", text, trader.names.symbol)
        self._desk.finish(trader, "cancelled", exit_reason="VANISHED")
        self._desk.outbox.withdraw(trader.names.symbol)
        trader.signal = trader.holding = None
        self._desk.settle(trader, trader.engine.position_closed(trader.engine.t or 0, "VANISHED"))

    def _apply(self, fill: Fill) -> None:
        if self._book is not None:
            self._book.apply(fill)

    async def _baseline(self, trade_id: int) -> Baseline | None:
        try:
            raw = await self._redis.get(names.trade_baseline(trade_id))
            return msgspec.json.decode(raw, type=Baseline) if raw else None
        except (RedisError, msgspec.MsgspecError) as error:
            _log.warning("baseline not read %s", kv(trade_id=trade_id, error=error))
            return None

    async def _resolve_outcomes(self, opened: Sequence[Trade], closed: Sequence[Trade]) -> None:
        """Give an outcome to signals that lost theirs because nobody was there to see it."""
        try:
            pending = await self._record.pending(self._now_ms() - UNRESOLVED_AFTER_MS)
        except (InfluxUnavailable, InfluxError) as error:
            _log.warning("outcomes not checked %s", kv(error=error))
            return
        still = {_signal_id(trade) for trade in opened}
        still |= {t.holding.signal_id for t in self._desk.traders.values() if t.holding}
        ended = {_signal_id(trade): trade for trade in closed}
        ours = {trader.names.symbol for trader in self._desk.traders.values() if trader.live}
        for key, signal_id in pending:
            if signal_id in still or key.tags.get("symbol") not in ours:
                continue
            trade = ended.get(signal_id)
            if trade is None:
                self._record.finish(key, "expired")
            else:
                pnl = trade.close_profit_abs or 0.0
                self._record.finish(
                    key,
                    outcome_of(pnl),
                    trade_id=trade.trade_id,
                    exit_price=trade.close_rate,
                    exit_time=iso(trade.close_timestamp or 0),
                    exit_reason=trade.exit_reason,
                    pnl=pnl,
                    pnl_percentage=(trade.close_profit or 0.0) * 100,
                    holding_time_minutes=_held_minutes(trade),
                )


def _position(
    trader: SymbolTrader,
    trade: Trade,
    signal_id: str,
    baseline: Baseline | None,
    spot: float,
    perp: float,
) -> OpenPosition:
    direction = -1 if trade.is_short else 1
    return OpenPosition(
        trade_id=trade.trade_id,
        direction=direction,
        entry_t=(trade.open_fill_timestamp or trade.open_timestamp) // 1000,
        entry_price=trader.aggregator.reference.spliced_price(trade.open_rate),
        spot_since_entry=spot,
        perp_since_entry=perp,
        best_spot=max(0.0, direction * spot, baseline.best_spot if baseline else 0.0),
        invalidation_price=_spliced(trader, baseline.invalidation_price if baseline else None),
        r5=baseline.r5 if baseline else None,
        score=baseline.score if baseline else 0.0,
        signal_id=signal_id,
    )


def _spliced(trader: SymbolTrader, price: float | None) -> float | None:
    return None if price is None else trader.aggregator.reference.spliced_price(price)


def _holding(
    trader: SymbolTrader,
    trade: Trade,
    position: OpenPosition,
    baseline: Baseline | None,
    key: PointKey | None,
) -> Holding:
    return Holding(
        signal_id=position.signal_id,
        setup_id=f"{trader.names.base}:{position.direction}:{position.entry_t}",
        direction=position.direction,
        leverage=max(1, int(trade.leverage or 1)),
        entry_price=position.entry_price,
        invalidation_price=position.invalidation_price,
        r5=position.r5,
        score=position.score,
        env=baseline.env if baseline else "",
        trade_id=trade.trade_id,
        opened_ms=trade.open_fill_timestamp or trade.open_timestamp,
        key=key,
    )


def _held_minutes(trade: Trade) -> float | None:
    opened_ms = trade.open_fill_timestamp or trade.open_timestamp
    return None if trade.close_timestamp is None else (trade.close_timestamp - opened_ms) / 60_000


def _signal_id(trade: Trade) -> str:
    tag = trade.enter_tag or ""
    return tag[len(TAG) :] if tag.startswith(TAG) else ""


def _fill(event: str, trader: SymbolTrader, trade: Trade) -> Fill:
    opening = event == "opened"
    ts_ms = trade.open_fill_timestamp if opening else trade.close_timestamp
    return msgspec.convert(
        {
            "event": event,
            "signal_id": _signal_id(trade),
            "symbol": trader.names.symbol,
            "pair": trade.pair,
            "side": "short" if trade.is_short else "long",
            "ts_ms": ts_ms or trade.open_timestamp,
            "trade_id": trade.trade_id,
            "price": float((trade.open_rate if opening else trade.close_rate) or 0.0),
            "amount": trade.amount,
            "stake": trade.stake_amount,
            "leverage": float(trade.leverage or 1.0),
            "reason": "" if opening else trade.exit_reason or "",
            "pnl": 0.0 if opening else trade.close_profit_abs or 0.0,
            "pnl_ratio": 0.0 if opening else trade.close_profit or 0.0,
        },
        Fill,
    )
