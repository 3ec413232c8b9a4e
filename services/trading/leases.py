"""Which replica decides for which symbol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from logging import getLogger
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.log import kv
from services.core import names
from services.core.outage import Outage
from services.trading.lease_script import RELEASE, TURN

LIFE_MS = 2100
TURN_S = 0.25
GUARD_S = 0.05
"""A lease is given up here this much before Redis lets it go: the clocks may drift apart."""

_log = getLogger(__name__)


class Shares(NamedTuple):
    """How the last turn found the symbols shared out.

    `own`: leases this replica should have. `unled`: symbols nobody leads. `over`: symbols that no
    replica may take, because all are at their limit. `first`: this replica has been there longest.
    """

    own: int
    unled: tuple[str, ...] = ()
    over: int = 0
    first: bool = True


class Leases:
    """Leases on symbols, shared out fairly among the replicas that are alive.

    A lease that cannot be renewed because Redis is away stops being `held` when its life is over,
    but is kept: it goes on when Redis returns, unless another replica has taken it meanwhile.

    `limit`: most leases at once. `ready`: whether this replica can take symbols over from others
    at once; until then it only takes what nobody else may. `warm`: the same of one symbol.
    """

    def __init__(
        self,
        redis: Redis,
        symbols: Sequence[str],
        owner: str,
        *,
        limit: int = 200,
        ready: Callable[[], bool] = lambda: True,
        warm: Callable[[str], bool] = lambda _: True,
        outage: Outage | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._turn = redis.register_script(TURN)
        self._release = redis.register_script(RELEASE)
        self._outage = outage or Outage("Redis", "")
        self._symbols = tuple(symbols)
        self._owner = owner
        self._limit = limit
        self._ready = ready
        self._warm = warm
        self._monotonic = monotonic
        self._fences: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self.shares = Shares(0)
        self.turned = asyncio.Event()
        self.on_taken: Callable[[str], None] = lambda _: None
        self.on_lost: Callable[[str], None] = lambda _: None
        self.on_renumbered: Callable[[str], None] = lambda _: None

    @property
    def owner(self) -> str:
        """The name under which this replica holds leases."""
        return self._owner

    @property
    def kept(self) -> frozenset[str]:
        """Symbols this replica has taken and nobody else is known to have."""
        return frozenset(self._fences)

    def keeps(self, symbol: str) -> bool:
        """Whether the symbol is among `kept`."""
        return symbol in self._fences

    def held(self, symbol: str) -> bool:
        """Whether this replica alone decides for the symbol, right now."""
        return self._monotonic() < self._until.get(symbol, 0.0)

    def fence(self, symbol: str) -> int:
        """The token of the symbol's lease, 0 without one."""
        return self._fences.get(symbol, 0)

    async def run(self, give_back: Callable[[int], Awaitable[Collection[str]]]) -> None:
        """Take, renew and share until cancelled.

        `give_back(count)` prepares that many symbols for another replica and returns them.
        """
        while True:
            try:
                await self.turn()
                self._outage.over()
                if (surplus := self.surplus) > 0:
                    await self.give(await give_back(surplus))
            except RedisError as error:
                self._outage.failed(error)
            await asyncio.sleep(TURN_S)

    @property
    def surplus(self) -> int:
        """Leases beyond this replica's share."""
        return max(0, len(self._fences) - self.shares.own)

    async def turn(self) -> None:
        """Renew what is kept and take what is free, up to this replica's share.

        One round trip for all symbols. Raises `RedisError`.
        """
        order = sorted(self._symbols, key=lambda symbol: not self._warm(symbol))
        asked = self._monotonic()
        flags = [int(symbol in self._fences) for symbol in order]
        keys = [names.REPLICAS, names.LEASE_GRACE]
        keys += [names.lease(symbol) for symbol in order]
        keys += [names.lease_fence(symbol) for symbol in order]
        args: list[str | int] = [self._owner, LIFE_MS, self._limit, int(self._ready()), *flags]
        answer: Any = await self._turn(keys=keys, args=args)
        own, over, first, *fences = (int(value) for value in answer)
        found = dict(zip(order, fences, strict=True))
        self._note(found, asked + LIFE_MS / 1000 - GUARD_S)
        unled = tuple(symbol for symbol in self._symbols if found[symbol] < 0)
        self.shares = Shares(own, unled, over, bool(first))
        self.turned.set()

    async def give(self, symbols: Collection[str]) -> None:
        """Give leases back; nothing is decided for them here from now on. Raises `RedisError`."""
        given = [symbol for symbol in symbols if symbol in self._fences]
        for symbol in given:
            self._drop(symbol)
        if given:
            _log.info("leases given back %s", kv(symbols=",".join(given)))
            await self._release(keys=[names.lease(s) for s in given], args=[self._owner])

    async def release(self) -> None:
        """Give all leases back and leave the replicas. Raises `RedisError`."""
        symbols = sorted(self._fences)
        for symbol in symbols:
            self._drop(symbol)
        await self._redis.hdel(names.REPLICAS, self._owner)
        if symbols:
            await self._release(keys=[names.lease(s) for s in symbols], args=[self._owner])

    def _note(self, found: dict[str, int], until: float) -> None:
        for symbol, fence in found.items():
            before = self._fences.get(symbol)
            if fence > 0:
                self._fences[symbol] = fence
                self._until[symbol] = until
                if before is None:
                    _log.info("lease taken %s", kv(symbol=symbol, fence=fence))
                    self.on_taken(symbol)
                elif before != fence:
                    _log.warning("lease had run out, taken again %s", kv(symbol=symbol))
                    self.on_renumbered(symbol)
            elif before is not None:
                _log.warning("lease lost to another replica %s", kv(symbol=symbol))
                self._drop(symbol)

    def _drop(self, symbol: str) -> None:
        del self._fences[symbol]
        self._until.pop(symbol, None)
        self.on_lost(symbol)
