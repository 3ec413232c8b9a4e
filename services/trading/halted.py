"""Keeps the portfolio informed of the kill switch."""

from __future__ import annotations

import asyncio
import time
from logging import getLogger

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import halt, names
from services.core.halt import HaltMemory
from services.core.outage import Outage
from services.trading.portfolio import Portfolio

EVERY_S = 0.5

_log = getLogger(__name__)


class HaltWatch:
    """Reads the kill switch twice a second.

    What was read last counts while Redis is away or has lost its data; the executor, which is the
    one that must not forget, puts the switch back.
    """

    def __init__(self, redis: Redis, portfolio: Portfolio, outage: Outage) -> None:
        self._redis = redis
        self._portfolio = portfolio
        self._outage = outage
        self._memory = HaltMemory()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.once()
            except RedisError as error:
                self._outage.failed(error)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """Read once. Raises `RedisError`."""
        raw = await self._redis.get(names.HALT)
        # A record is dated by the real time, also where the market's is simulated.
        value = raw if isinstance(raw, bytes) else None
        if not self._memory.learn(value, time.time_ns() // 1_000_000):
            return
        switch = self._memory.current
        self._portfolio.halted = halt.describe(switch)
        text = "entries halted" if switch.halted else "entries allowed again"
        _log.warning("%s %s", text, kv(by=switch.by, reason=switch.reason))
