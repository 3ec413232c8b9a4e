"""Which replica decides for which symbol."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from logging import getLogger

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.outage import Outage

LIFE_MS = 2500
RENEW_S = 0.5

# The token is never below the clock in ms, so that it grows even after Redis has lost its data.
_ACQUIRE = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local now = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1,
                       now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('SET', KEYS[2], string.format('%.0f', fence))
return fence
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"

_log = getLogger(__name__)


class Leases:
    """Leases on symbols, renewed twice a second.

    A lease that cannot be renewed because Redis is away stops being `held` when its life is over,
    but is kept: it goes on when Redis returns, unless another replica has taken it meanwhile.
    """

    def __init__(
        self,
        redis: Redis,
        symbols: Sequence[str],
        owner: str,
        *,
        outage: Outage | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._outage = outage or Outage("Redis", "")
        self._symbols = tuple(symbols)
        self._owner = owner
        self._monotonic = monotonic
        self._fences: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._changed = asyncio.Event()

    @property
    def kept(self) -> frozenset[str]:
        """Symbols this replica has taken and nobody else is known to have."""
        return frozenset(self._fences)

    def held(self, symbol: str) -> bool:
        """Whether this replica alone decides for the symbol, right now."""
        return self._monotonic() < self._until.get(symbol, 0.0)

    def fence(self, symbol: str) -> int:
        """The token of the symbol's lease, 0 without one."""
        return self._fences.get(symbol, 0)

    async def changed(self) -> None:
        """Wait until `kept` has changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    async def run(self) -> None:
        """Take and renew until cancelled."""
        while True:
            try:
                await self.turn()
                self._outage.over()
            except RedisError as error:
                self._outage.failed(error)
            await asyncio.sleep(RENEW_S)

    async def turn(self) -> None:
        """Renew what is kept, and take one more symbol that is free.

        One at a time, so that replicas that start together share. Raises `RedisError`.
        """
        for symbol in sorted(self._fences):
            await self._renew(symbol)
        free = [symbol for symbol in self._symbols if symbol not in self._fences]
        for symbol in random.sample(free, len(free)):
            if await self._acquire(symbol):
                break

    async def release(self) -> None:
        """Give all leases back. Raises `RedisError`."""
        for symbol in sorted(self._fences):
            await self._redis.eval(_RELEASE, 1, names.lease(symbol), self._owner)
            self._drop(symbol)

    async def _renew(self, symbol: str) -> None:
        asked = self._monotonic()
        key = names.lease(symbol)
        if int(await self._redis.eval(_RENEW, 1, key, self._owner, str(LIFE_MS))):
            self._until[symbol] = asked + LIFE_MS / 1000
        elif not await self._acquire(symbol):
            _log.warning("lease lost to another replica %s", kv(symbol=symbol))
            self._drop(symbol)

    async def _acquire(self, symbol: str) -> bool:
        asked = self._monotonic()
        keys = (names.lease(symbol), names.lease_fence(symbol))
        fence = int(await self._redis.eval(_ACQUIRE, 2, *keys, self._owner, str(LIFE_MS)))
        if not fence:
            return False
        if symbol not in self._fences:
            _log.info("lease taken %s", kv(symbol=symbol, fence=fence))
            self._changed.set()
        self._fences[symbol] = fence
        self._until[symbol] = asked + LIFE_MS / 1000
        return True

    def _drop(self, symbol: str) -> None:
        self._fences.pop(symbol, None)
        self._until.pop(symbol, None)
        self._changed.set()
