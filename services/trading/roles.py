"""Which symbols this replica leads and which it only follows."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from logging import getLogger

from services.strategy.types import State
from services.trading.crew import Crew, Part
from services.trading.desk import Desk
from services.trading.leases import Leases
from services.trading.loader import Loader
from services.trading.outbox import Outbox
from services.trading.stale import Staleness
from services.trading.standby import Handover
from services.trading.symbol import SymbolTrader

UNLED_AFTER_S = 5.0
_COST = {State.DIVERGENCE: 1, State.RESET: 2, State.IN_POSITION: 3}
_MOST = 4

_log = getLogger(__name__)


class Roles:
    """A symbol whose lease is kept here is led, any other one followed, ready to be taken over.

    `known`: set once the markets are known. `on_live`: a symbol is led from now on.
    """

    def __init__(
        self,
        desk: Desk,
        leases: Leases,
        outbox: Outbox,
        loader: Loader,
        handover: Handover,
        stale: Staleness,
        *,
        known: asyncio.Event,
        parallel: bool,
        on_live: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self._leases = leases
        self._outbox = outbox
        self._loader = loader
        self._handover = handover
        self._stale = stale
        self._known = known
        self._on_live = on_live
        self._on_lost = on_lost
        self._limit = asyncio.Semaphore(max(1, len(desk.traders)) if parallel else 1)
        self._one_by_one = asyncio.Semaphore(1)
        self._loading: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._crew: Crew | None = None
        self._unled_since: float | None = None
        self.unled_after_s = UNLED_AFTER_S
        leases.on_taken, leases.on_lost = self._taken, self._lost
        leases.on_renumbered = self._renumbered

    def start(self, crew: Crew) -> None:
        """Begin to lead and to follow; the tasks belong to `crew`."""
        self._crew = crew
        crew.start(functools.partial(self._leases.run, self._give_back))
        crew.start(self._begin)
        crew.start(self._watch)

    def stop(self) -> None:
        """Let the leases go without anything being done about it."""
        self._crew = None

    def ready(self) -> bool:
        """Whether every symbol could be taken over at once."""
        return all(trader.live or trader.standby for trader in self._desk.traders.values())

    def warm(self, symbol: str) -> bool:
        """Whether this symbol could."""
        trader = self._desk.traders[symbol]
        return trader.live or trader.standby

    async def _begin(self) -> None:
        await self._leases.turned.wait()
        for symbol in self._desk.traders:
            if symbol not in self._tasks:
                self._assign(symbol, self._follow)

    def _taken(self, symbol: str) -> None:
        self._assign(symbol, self._lead)

    def _lost(self, symbol: str) -> None:
        self._outbox.forget(symbol)
        self._on_lost(symbol)
        self._desk.traders[symbol].stand_by()
        self._loading.discard(symbol)
        if not self._loading:
            self._idle.set()
        self._assign(symbol, self._follow)

    def _renumbered(self, symbol: str) -> None:
        # Redis was away, and may have lost what it knew of the symbol.
        trader = self._desk.traders[symbol]
        if trader.live:
            self._desk.save(trader)

    def _assign(self, symbol: str, role: Callable[[SymbolTrader], Part]) -> None:
        if self._crew is None:
            return
        before = self._tasks.get(symbol)
        if before is not None:
            before.cancel()
        part = role(self._desk.traders[symbol])

        async def follow_up() -> None:
            if before is not None and not before.done():
                await asyncio.wait((before,))
            await part()

        self._tasks[symbol] = self._crew.start(follow_up)

    def _lead(self, trader: SymbolTrader) -> Part:
        symbol = trader.names.symbol

        async def lead() -> None:
            ready, anew = await self._handover.take(trader), False
            while True:
                if not ready:
                    self._loading.add(symbol)
                    self._idle.clear()
                    await self._known.wait()
                    async with self._limit:
                        await self._loader.load(trader, anew=anew)
                    self._loading.discard(symbol)
                    if not self._loading:
                        self._idle.set()
                self._on_live()
                await self._stale.until(trader)
                ready, anew = False, True

        return lead

    def _follow(self, trader: SymbolTrader) -> Part:
        async def follow() -> None:
            while True:
                if not trader.standby:
                    await self._known.wait()
                    async with self._one_by_one:
                        await self._idle.wait()  # what is led comes first
                        await self._loader.load(trader, lead=False)
                await self._stale.until(trader)

        return follow

    async def _give_back(self, count: int) -> list[str]:
        """Save the symbols that are easiest to do without, up to `count`."""
        kept = sorted(self._leases.kept, key=lambda symbol: (self._cost(symbol), symbol))
        chosen = kept[:count]
        for symbol in chosen:
            if self._desk.traders[symbol].live:
                self._desk.save(self._desk.traders[symbol])
        await self._outbox.flush()
        return chosen

    def _cost(self, symbol: str) -> int:
        trader = self._desk.traders[symbol]
        if trader.takes_slot and not trader.has_position:
            return _MOST
        return _COST.get(trader.engine.state, _MOST if trader.has_position else 0)

    async def _watch(self) -> None:
        """Tell if a symbol stays without a leader because all replicas are at their limit."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            shares = self._leases.shares
            if not (shares.over and shares.unled and shares.first):
                self._unled_since = None
                continue
            self._unled_since = self._unled_since or loop.time()
            if loop.time() - self._unled_since >= self.unled_after_s:
                remedy = "raise SQUEEZEFLOW_MAX_SYMBOLS or start another strategy-runner"
                text = f"nobody decides for {', '.join(shares.unled)}: {remedy}"
                self._desk.alert("critical", "symbols_not_led", text)
