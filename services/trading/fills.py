"""What the execution engine reports: applied once each, acknowledged when recorded."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from logging import getLogger
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from aggr_server.log import kv
from services.core import names
from services.core.outage import Outage
from services.core.records import Fill
from services.influx_signal_manager import iso, outcome_of
from services.strategy.types import State
from services.trading import baselines
from services.trading.desk import Desk
from services.trading.leases import Leases
from services.trading.symbol import SymbolTrader

CATASTROPHIC_STOP = "CATASTROPHIC_STOP"
OWN_EXIT = "sf_"
BLOCK_MS = 250
IDLE_MS = 300
BATCH = 100
REMEMBERED = 10_000
RETRY_CAP_S = 2.0

_log = getLogger(__name__)


class FillBook:
    """Applies fills to the symbols; each (trade or signal, event) counts once."""

    def __init__(self, desk: Desk, reconcile: Callable[[], None]) -> None:
        self._desk = desk
        self._reconcile = reconcile
        self._seen: OrderedDict[tuple[str, str, str, int | None], None] = OrderedDict()

    def apply(self, fill: Fill) -> bool:
        """Apply; False if the symbol is not being followed here (yet), so that it must wait."""
        trader = self._desk.traders.get(fill.symbol)
        if trader is None or not trader.live:
            return False
        key = (fill.symbol, fill.event, fill.signal_id, fill.trade_id)
        if key in self._seen:
            return True
        match fill.event:
            case "opened":
                self._opened(trader, fill)
            case "closed":
                self._closed(trader, fill)
            case "rejected":
                self._rejected(trader, fill)
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._desk.save(trader)
        return True

    def forget(self, symbol: str) -> None:
        """Another replica decides for the symbol; what it knows of fills counts."""
        for key in [key for key in self._seen if key[0] == symbol]:
            del self._seen[key]

    def _opened(self, trader: SymbolTrader, fill: Fill) -> None:
        holding = trader.holding
        if fill.trade_id is None or trader.engine.trade_id == fill.trade_id:
            return
        if holding is None or holding.signal_id != fill.signal_id or holding.trade_id is not None:
            _log.warning(
                "fill of an unknown signal %s",
                kv(symbol=fill.symbol, signal_id=fill.signal_id, trade_id=fill.trade_id),
            )
            self._reconcile()
            return
        spliced = trader.aggregator.reference.spliced_price(fill.price)
        events = trader.engine.filled(fill.ts_ms // 1000, fill.trade_id, spliced)
        holding.trade_id = fill.trade_id
        holding.opened_ms = fill.ts_ms
        holding.entry_price = spliced
        trader.signal = None
        self._desk.outbox.withdraw(fill.symbol)
        baselines.write(self._desk.outbox, trader, fill)
        if holding.key:
            self._desk.record.filled(holding.key, fill.trade_id, fill.price, fill.ts_ms)
        _log.info("filled %s", kv(symbol=fill.symbol, trade_id=fill.trade_id, price=fill.price))
        self._desk.settle(trader, events)

    def _closed(self, trader: SymbolTrader, fill: Fill) -> None:
        holding = trader.holding
        if holding is None or fill.trade_id is None or not self._concerns(trader, fill):
            self._reconcile()
            return
        if holding.trade_id is None:  # its opening was never reported
            self._opened(trader, fill)
        events = trader.engine.position_closed(fill.ts_ms // 1000, fill.reason)
        outcome = outcome_of(fill.pnl)
        reason = holding.exit_reason if fill.reason.startswith(OWN_EXIT) else None
        self._desk.finish(
            trader,
            outcome,
            trade_id=fill.trade_id,
            exit_price=fill.price,
            exit_time=iso(fill.ts_ms),
            exit_reason=reason or fill.reason,
            pnl=fill.pnl,
            pnl_percentage=fill.pnl_ratio * 100,
            holding_time_minutes=self._held_minutes(trader, fill),
        )
        if holding.close_key:
            self._desk.record.finish(holding.close_key, outcome if reason else "cancelled")
        if fill.reason == CATASTROPHIC_STOP:
            text = f"trade {fill.trade_id} ended by its stop, not by the strategy"
            self._desk.alert("critical", "catastrophic_stop", text, fill.symbol, every_s=0)
        self._desk.outbox.withdraw(fill.symbol)
        baselines.remove(self._desk.outbox, fill.symbol, fill.trade_id)
        self._desk.portfolio.closed(fill.symbol)
        trader.signal = trader.holding = None
        _log.info(
            "closed %s",
            kv(symbol=fill.symbol, trade_id=fill.trade_id, reason=fill.reason, pnl=fill.pnl),
        )
        self._desk.settle(trader, events)

    def _rejected(self, trader: SymbolTrader, fill: Fill) -> None:
        holding = trader.holding
        if holding is None or holding.signal_id != fill.signal_id:
            return
        if trader.engine.state is not State.ENTRY_READY:
            return
        self._desk.drop_signal(trader, fill.reason, fill.ts_ms // 1000)

    @staticmethod
    def _concerns(trader: SymbolTrader, fill: Fill) -> bool:
        assert trader.holding is not None
        if trader.holding.trade_id is not None:
            return trader.holding.trade_id == fill.trade_id
        return bool(fill.signal_id) and trader.holding.signal_id == fill.signal_id

    @staticmethod
    def _held_minutes(trader: SymbolTrader, fill: Fill) -> float | None:
        opened_ms = trader.opened_ms
        return None if opened_ms is None else (fill.ts_ms - opened_ms) / 60_000


class FillsConsumer:
    """Reads the fills stream as a member of the group.

    Entries of symbols that another replica follows are left to it; entries left over by a replica
    that is gone are taken when their symbol is followed here. `acknowledge(symbol, id)` sees to it
    that an entry is acknowledged together with what it led to; without it, that is done at once.
    """

    def __init__(
        self,
        redis: Redis,
        book: FillBook,
        leases: Leases,
        name: str,
        outage: Outage,
        acknowledge: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._outage = outage
        self._acknowledge = acknowledge
        self._redis = redis
        self._book = book
        self._leases = leases
        self._name = name

    async def run(self) -> None:
        """Consume until cancelled."""
        delay_s = 0.1
        while True:
            try:
                await self._ensure_group()
                while True:
                    await self._take_over()
                    await self._read()
                    delay_s = 0.1
            except RedisError as error:
                self._outage.failed(error)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(RETRY_CAP_S, delay_s * 2)

    async def _ensure_group(self) -> None:
        try:
            await self._redis.xgroup_create(
                names.FILLS_STREAM, names.FILLS_GROUP, id="0", mkstream=True
            )
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self) -> None:
        answer: Any = await self._redis.xreadgroup(
            names.FILLS_GROUP, self._name, {names.FILLS_STREAM: ">"}, count=BATCH, block=BLOCK_MS
        )
        for _, entries in answer or ():
            await self._handle(entries)

    async def _take_over(self) -> None:
        # Includes what this consumer read before its symbol was live.
        pending = await self._redis.xpending_range(
            names.FILLS_STREAM, names.FILLS_GROUP, min="-", max="+", count=BATCH, idle=IDLE_MS
        )
        for item in pending:
            entry_id = item["message_id"]
            entries: Any = await self._redis.xrange(names.FILLS_STREAM, entry_id, entry_id)
            if not entries:
                await self._redis.xack(names.FILLS_STREAM, names.FILLS_GROUP, entry_id)
                continue
            fill = _decode(entries[0][1])
            if fill is not None and fill.symbol not in self._leases.kept:
                continue
            claimed: Any = await self._redis.xclaim(
                names.FILLS_STREAM, names.FILLS_GROUP, self._name, IDLE_MS, [entry_id]
            )
            await self._handle(claimed)

    async def _handle(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for entry_id, fields in entries:
            fill = _decode(fields)
            if fill is None:
                _log.error(
                    "entry of the fills stream not readable, skipped %s", kv(id=entry_id.decode())
                )
            elif fill.symbol not in self._leases.kept or not self._book.apply(fill):
                continue
            elif self._acknowledge is not None:
                self._acknowledge(fill.symbol, entry_id)
                continue
            await self._redis.xack(names.FILLS_STREAM, names.FILLS_GROUP, entry_id)


def _decode(fields: dict[bytes, bytes]) -> Fill | None:
    try:
        return msgspec.json.decode(fields.get(b"data", b""), type=Fill)
    except msgspec.MsgspecError:
        return None
