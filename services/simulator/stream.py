"""Time: when trading begins, and each trade's way out at its very moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import groupby
from logging import getLogger

from aggr_server import clock
from aggr_server.log import kv
from services.simulator.connections import Hub
from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.market import Market
from services.simulator.venues import Venue

AHEAD_MS = 1000
"""How long before a second begins its trades are made."""

CATCH_UP_S = 3600
_TIMER_GRAIN_S = 0.001
_STALLED_S = 5.0
_log = getLogger(__name__)


class Stream:
    """Makes each second's trades shortly before it begins and releases them when they happen."""

    def __init__(self, market: Market, venues: Sequence[Venue], hub: Hub, faults: Faults) -> None:
        self._market = market
        self._hub = hub
        self._faults = faults
        self._venue_of = {i.market: venue for venue in venues for i in venue.instruments}
        self._due: list[tuple[int, int, Trade]] = []
        self._last_due: dict[str, int] = {}
        self._number = 0
        self._made: int | None = None
        self.sent = 0
        self.second: int | None = None
        self.worst_lag_ms = 0

    @property
    def stalled(self) -> bool:
        """Whether trading has begun and then stopped turning."""
        return self._made is not None and clock.now_ms() / 1000 - self._made > _STALLED_S

    async def resume(self) -> None:
        """After a restart: trading went on, but nobody was told. Those seconds are uncertain."""
        market = self._market
        if market.made_until is None or market.live_from is None:
            return
        now = clock.now_ms() // 1000 + 2
        told = market.ledger.get("sent_until") or market.live_from
        if now <= market.live_from:
            return
        if now - market.made_until > CATCH_UP_S:
            market.skip_to(now - CATCH_UP_S)
        while market.made_until < now:
            market.make(market.made_until)
            await asyncio.sleep(0)
        market.ledger.mark_uncertain(told, market.made_until)
        _log.info("trading resumed %s", kv(uncertain_from=told, uncertain_to=market.made_until))

    async def run(self) -> None:
        """Trade for ever."""
        market = self._market
        if market.made_until is None:
            raise RuntimeError("trading has not been planned yet")
        while True:
            second = market.made_until
            ahead_ms = AHEAD_MS + self._faults.greatest_offset_ms
            await self._send_until(second * 1000 - ahead_ms)
            self._plan(market.make(second))
            sent_until = self._sent_until(second)
            market.ledger.put("sent_until", sent_until)
            self._made, self.second = second, sent_until - 1

    async def release(self, trades: Sequence[Trade]) -> None:
        """Send `trades`, each at its moment or at once if that is past."""
        self._plan(trades)
        while self._due:
            await self._send_until(self._due[0][0])
            self._send_due()

    def _plan(self, trades: Sequence[Trade]) -> None:
        for trade in trades:
            exchange = trade.instrument.exchange
            due_ms = trade.ts_ms - self._faults.clock_offset_ms(exchange)
            # A clock that is put forward again must not let trades overtake each other.
            due_ms = max(due_ms, self._last_due.get(exchange, 0))
            self._last_due[exchange] = due_ms
            self._number += 1
            heappush(self._due, (due_ms, self._number, trade))

    async def _send_until(self, end_ms: int) -> None:
        """Send what is due before `end_ms`, and return then."""
        while True:
            self._send_due()
            next_ms = min(end_ms, self._due[0][0]) if self._due else end_ms
            left_s = (next_ms - self._market.clock()) / 1000
            if left_s > 0:
                # Never shorter: no trade leaves before it happens.
                await asyncio.sleep(clock.real(left_s) + _TIMER_GRAIN_S)
            elif next_ms == end_ms:
                return

    def _send_due(self) -> None:
        now_ms = self._market.clock()
        trades: list[Trade] = []
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, trade = heappop(self._due)
            self.worst_lag_ms = max(self.worst_lag_ms, now_ms - due_ms)
            trades.append(trade)
        if trades:
            self._publish(trades)

    def _publish(self, trades: Sequence[Trade]) -> None:
        due = sorted(trades, key=lambda trade: trade.instrument.market)
        for name, group in groupby(due, key=lambda trade: trade.instrument.market):
            batch = list(group)
            self.sent += len(batch)
            venue = self._venue_of[name]
            self._hub.sender = self._faults.sender(name, "trades")
            venue.publish(batch)
            forced = [trade for trade in batch if trade.liquidation]
            if forced:
                self._hub.sender = self._faults.sender(name, "liquidations")
                venue.publish_liquidations(forced)
        self._hub.sender = None

    def _sent_until(self, second: int) -> int:
        """The first second of which something may not have been sent yet."""
        oldest = min((trade.ts_ms for _, _, trade in self._due), default=second * 1000)
        return min(oldest // 1000, second)
