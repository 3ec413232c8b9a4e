"""Notices that a symbol's history in memory is no longer what the database holds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from logging import getLogger

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from services.core.outage import Outage
from services.market.aggregate import preferred_market
from services.market.assemble import Assembler
from services.market.backfill import MINUTE_S, Backfill, Filled
from services.market.klines import KlinesUnavailable
from services.market.markets import Directory
from services.strategy.types import State
from services.trading.loader import SCALE_MINUTES
from services.trading.symbol import SymbolTrader

CLOSED_AFTER_S = 5
"""A minute's candle is final, and its bars are stored, this long after its end."""

SETTLE_S = 2.0
"""Repairs of one outage come in one after the other: how long none may have come."""

SETTLE_MAX_S = 60.0
LOOK_S = 60
LOOK_WARM_S = 600
INFLUX_RETRY_S = 10.0

_log = getLogger(__name__)


class Staleness:
    """Tells when a symbol has to be loaded anew: its gaps were filled, by collectors or candles.

    `backfill` None: nothing is fetched. `leads`: whether this replica keeps the symbol's lease;
    only the leader fetches, the others read what it has stored.
    """

    def __init__(
        self,
        assembler: Assembler,
        directory: Directory,
        backfill: Backfill | None,
        *,
        execution_exchange: str,
        leads: Callable[[str], bool],
        now_ms: Callable[[], int],
        influx_outage: Outage,
        lag_s: float,
    ) -> None:
        self._assembler = assembler
        self._directory = directory
        self._backfill = backfill
        self._exchange = execution_exchange
        self._leads = leads
        self._now_ms = now_ms
        self._influx_outage = influx_outage
        self._settle_s = SETTLE_S + lag_s
        self._told: dict[str, str] = {}

    async def until(self, trader: SymbolTrader) -> None:
        """Return when the symbol is to be loaded anew; its seconds wait from then on.

        Never while a position is open or a signal waits: what these rest on stays as it is.
        """
        base = trader.names.base
        self._assembler.outdated.discard(base)  # it has just been loaded
        look_s = 0.0
        while True:
            await asyncio.sleep(1.0)
            if trader.takes_slot:
                continue
            if base in self._assembler.outdated:
                _log.info("gaps were filled, loading again %s", kv(symbol=trader.names.symbol))
                trader.pause()
                await self._settled(base)
                return
            if self._backfill is None or self._now_ms() / 1000 < look_s:
                continue
            filled, delay_s = await self._look(trader, self._backfill)
            look_s = self._now_ms() / 1000 + delay_s
            if filled is not None and set(filled.minutes) - set(trader.filled):
                _log.info(
                    "history filled from candles, loading again %s",
                    kv(symbol=trader.names.symbol, minutes=len(filled.minutes)),
                )
                trader.pause()
                return

    async def _settled(self, base: str) -> None:
        waited_s = 0.0
        while base in self._assembler.outdated and waited_s < SETTLE_MAX_S:
            self._assembler.outdated.discard(base)
            await asyncio.sleep(self._settle_s)
            waited_s += self._settle_s

    async def _look(self, trader: SymbolTrader, backfill: Backfill) -> tuple[Filled | None, float]:
        """Fetch what is missing; what can be used, and when to look again, in seconds."""
        symbol = trader.names.symbol
        markets = self._directory.of_base(trader.names.base)
        reference = preferred_market(markets, self._exchange)
        if reference is None:
            return None, LOOK_S
        to_s = (self._now_ms() // 1000 - CLOSED_AFTER_S) // MINUTE_S * MINUTE_S
        from_s = to_s - SCALE_MINUTES * MINUTE_S
        delay_s, problem = 0.0, ""
        try:
            if self._leads(symbol):
                try:
                    count = await backfill.fetch(markets, reference, from_s, to_s)
                    if count:
                        _log.info("candles fetched %s", kv(symbol=symbol, minutes=count))
                except KlinesUnavailable as error:
                    problem, delay_s = str(error), error.retry_after_s * random.uniform(1.0, 1.5)
            filled = await backfill.minutes(markets, reference, from_s, to_s)
        except InfluxUnavailable as error:
            self._influx_outage.failed(error)
            return None, INFLUX_RETRY_S
        except InfluxError as error:
            _log.error("history not filled %s", kv(symbol=symbol, error=error))
            return None, LOOK_WARM_S
        trader.usable_at = filled.usable_at
        self._tell(symbol, problem or filled.problem)
        return filled, delay_s or self._next_look_s(trader, filled)

    def _next_look_s(self, trader: SymbolTrader, filled: Filled) -> float:
        warming = trader.live and trader.engine.state is State.WARMUP
        if filled.usable_at is None:
            return LOOK_S if warming else LOOK_WARM_S
        left_s = filled.usable_at + CLOSED_AFTER_S + 1 - self._now_ms() / 1000
        return min(max(1.0, left_s), LOOK_WARM_S)

    def _tell(self, symbol: str, problem: str) -> None:
        if problem and problem != self._told.get(symbol):
            _log.warning("history not filled from candles %s", kv(symbol=symbol, reason=problem))
        self._told[symbol] = problem
