"""Time: when trading begins, and each trade's way out at its very moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import groupby
from logging import getLogger

from aggr_server.log import kv
from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.market import Market
from services.simulator.venues import Venue

AHEAD_S = 0.4
"""How long before a second begins its trades are made."""

CATCH_UP_S = 3600
_TIMER_GRAIN_S = 0.001
_STALLED_S = 5.0
_log = getLogger(__name__)


class Stream:
    """Makes each second's trades shortly before it begins and releases them when they happen."""

    def __init__(self, market: Market, venues: Sequence[Venue], faults: Faults) -> None:
        self._market = market
        self._faults = faults
        self._venue_of = {i.market: venue for venue in venues for i in venue.instruments}
        self.sent = 0
        self.second: int | None = None
        self.worst_lag_ms = 0

    @property
    def stalled(self) -> bool:
        """Whether trading has begun and then stopped turning."""
        return self.second is not None and time.time() - self.second > _STALLED_S

    async def resume(self) -> None:
        """After a restart: trading went on, but nobody was told. Those seconds are uncertain."""
        market = self._market
        if market.made_until is None or market.live_from is None:
            return
        now = int(time.time()) + 2
        told = market.ledger.get("sent_until") or market.live_from
        if now <= market.live_from:
            return
        if now - market.made_until > CATCH_UP_S:
            market.skip_to(now - CATCH_UP_S)
        while market.made_until < now:
            market.make(market.made_until)
            await asyncio.sleep(0)
        market.ledger.mark_uncertain(told, now)
        _log.info("trading resumed %s", kv(uncertain_from=told, uncertain_to=now))

    async def run(self) -> None:
        """Trade for ever."""
        market = self._market
        if market.made_until is None:
            raise RuntimeError("trading has not been planned yet")
        while True:
            second = market.made_until
            await _until(second - AHEAD_S)
            trades = market.make(second)
            await self.release(trades)
            market.ledger.put("sent_until", second + 1)
            self.second = second

    async def release(self, trades: Sequence[Trade]) -> None:
        """Send `trades`, which are in time order, each at its moment or at once if that is past."""
        position = 0
        while position < len(trades):
            await _until(trades[position].ts_ms / 1000)
            now_ms = self._market.clock()
            end = position + 1
            while end < len(trades) and trades[end].ts_ms <= now_ms:
                end += 1
            self.worst_lag_ms = max(self.worst_lag_ms, now_ms - trades[position].ts_ms)
            self._publish(trades[position:end])
            position = end

    def _publish(self, trades: Sequence[Trade]) -> None:
        due = sorted(trades, key=lambda trade: trade.instrument.market)
        for name, group in groupby(due, key=lambda trade: trade.instrument.market):
            batch = list(group)
            self.sent += len(batch)
            if not self._faults.silent(name):
                self._venue_of[name].publish(batch)


async def _until(wall_s: float) -> None:
    """Sleep until a moment of the wall clock, never shorter: no trade leaves before it happens."""
    left = wall_s - time.time()
    if left > 0:
        await asyncio.sleep(left + _TIMER_GRAIN_S)
