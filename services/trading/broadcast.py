"""Tells whoever listens what the strategy sees, once decisions are written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from logging import getLogger

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.outage import Outage
from services.core.views import View, Views
from services.trading.desk import Desk
from services.trading.leases import Leases
from services.trading.permits import Permits
from services.trading.symbol import SymbolTrader
from services.trading.views import view_of

LOOK_EVERY_S = 1.0
APART_S = 0.5
"""Less than the time between seconds, which varies; it acts while many are caught up on."""

AT_ONCE = 10
"""Symbols described before others get a turn, so that a second that comes in does not wait."""

REPEAT_ERROR_S = 600.0

_log = getLogger(__name__)


class Broadcast:
    """One message of all symbols led here after every turn that is written, if anybody listens.

    Whether anybody does is told by every message; without, it is looked at once a second. What
    cannot be told because Redis is away is not made up for. `apart_s`: messages are not closer.
    `listeners`: how many heard the last one. `idle`: nothing is left to be told.
    """

    def __init__(
        self,
        redis: Redis,
        desk: Desk,
        leases: Leases,
        *,
        outage: Outage,
        apart_s: float = APART_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._desk = desk
        self._leases = leases
        self._outage = outage
        self.apart_s = apart_s
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self.listeners = 0
        self.idle = True
        self._looked = self._sent = self._told = float("-inf")
        self._encode = msgspec.json.Encoder().encode

    def turned(self) -> None:
        """A turn is written."""
        self.idle = False
        self._wake.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._turn()
            except RedisError as error:
                self.listeners = 0
                self._outage.failed(error)
            self.idle = not self._wake.is_set()

    async def _turn(self) -> None:
        now = self._monotonic()
        if now - self._sent < self.apart_s or not (self.listeners or await self._looks(now)):
            return
        views = await self._views()
        if not views:
            return
        self._sent = now
        message = Views(replica=self._leases.owner, ts_ms=self._desk.now_ms(), views=views)
        self.listeners = await self._redis.publish(names.VIEWS, self._encode(message))

    async def _looks(self, now: float) -> bool:
        if now - self._looked < LOOK_EVERY_S:
            return False
        self._looked = now
        ((_, listeners),) = await self._redis.pubsub_numsub(names.VIEWS)
        return bool(listeners)

    async def _views(self) -> list[View]:
        permits = Permits(self._desk, self._leases.held)
        led = [trader for trader in self._desk.traders.values() if self._led(trader)]
        views = []
        for i, trader in enumerate(led, 1):
            # The lease may have gone since.
            if self._led(trader):
                try:
                    views.append(view_of(trader, permits, self._desk.now_ms()))
                except Exception:  # noqa: BLE001  what is for people must not end what decides
                    if self._tells():
                        _log.exception("symbol not described %s", kv(symbol=trader.names.symbol))
            if i % AT_ONCE == 0:
                await asyncio.sleep(0)
        return views

    def _tells(self) -> bool:
        now = self._monotonic()
        if now - self._told < REPEAT_ERROR_S:
            return False
        self._told = now
        return True

    def _led(self, trader: SymbolTrader) -> bool:
        return self._leases.keeps(trader.names.symbol)
