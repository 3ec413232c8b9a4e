"""Successive connections of one set of streams: one that works, and its successor in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from logging import getLogger

from aggr_server import clock
from aggr_server.connection import Broken, Connection, Retired, Setup, State, Tally
from aggr_server.exchanges.base import Stream
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.streams import StreamState
from aggr_server.subscribing import Roll
from aggr_server.throttle import Backoff, Occasionally
from aggr_server.transport import Refused

OVERLAP_S = 5.0
"""How long a connection stays beside its successor."""

STEADY_S = 30.0
"""A connection that lived this long was a good one."""

FAILURE_CAP_S = 60.0
BREAK_CAP_S = 5.0
"""Upper bounds of the delay after an attempt that failed, and after one that had gone live."""

LIFE_MARGIN = (0.05, 0.2)
"""Part of a connection's lifetime left when its successor is called."""

_IDLE_S = 3600.0

_log = getLogger(__name__)


class Feed:
    """Keeps `states`, streams of one channel, on a connection.

    `renewing` is called before each new connection is made, and may change the streams; `renewed`
    when it has gone live.
    """

    def __init__(
        self,
        name: str,
        channel: str,
        states: Iterable[StreamState],
        setup: Setup,
        *,
        renewing: Callable[[Feed], None] | None = None,
        renewed: Callable[[Feed], None] | None = None,
    ) -> None:
        self.name = name
        self.channel = channel
        self.last_error = ""
        self.reconnects = 0
        self.current: Connection | None = None
        self._states = dict.fromkeys(states)
        self._setup = setup
        self._renewing = renewing
        self._renewed = renewed
        self._tally = Tally()
        self._roll = Roll()
        self._pending: Connection | None = None
        self._lives: dict[Connection, asyncio.Task[None]] = {}
        self._failures = Backoff(cap_s=FAILURE_CAP_S)
        self._breaks = Backoff(cap_s=BREAK_CAP_S)
        self._resume_s = 0.0
        self._due_s = float("inf")
        self._wake = asyncio.Event()
        self._complain = Occasionally(30.0)

    @property
    def is_live(self) -> bool:
        """Whether data flows."""
        return any(connection.state is State.LIVE for connection in self._lives)

    @property
    def state(self) -> State:
        """Where the connection stands that works, or else the one being made."""
        if self.is_live:
            return State.LIVE
        return self._pending.state if self._pending is not None else State.WAITING

    @property
    def frames(self) -> int:
        """Frames received by all connections."""
        return self._tally.frames

    @property
    def parse_errors(self) -> int:
        """Frames among them that could not be read."""
        return self._tally.parse_errors

    @property
    def states(self) -> list[StreamState]:
        """The streams it is in charge of."""
        return [state for state in self._states if not state.refused]

    @property
    def streams(self) -> list[Stream]:
        """The same as the venue's adapter knows them."""
        return [state.stream for state in self.states]

    @property
    def markets(self) -> list[MarketState]:
        """The markets these streams belong to."""
        return list({state.market.name: state.market for state in self.states}.values())

    async def run(self) -> None:
        """Keep a connection as long as there are streams; never ends by itself."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._until_due()
                if self._renewing is not None:
                    self._renewing(self)
                if self.states:
                    await self._succeed(group)

    def adopt(self, states: Iterable[StreamState], *, now: bool = True) -> None:
        """Take charge of further streams: from the next connection on, which is made `now`.

        The streams carried already go on undisturbed until that one is live.
        """
        self._states.update(dict.fromkeys(states))
        self._roll.forget()
        if now:
            self.replace()

    def release(self, states: Iterable[StreamState], *, drop: bool = False) -> None:
        """Leave these streams to another feed, or `drop` them for good.

        The connection goes on carrying what is left to another one. Without any stream left it is
        closed.
        """
        connections = list(self._lives)
        for state in states:
            self._states.pop(state, None)
            if drop:
                for connection in connections:
                    connection.forget(state)
        self._roll.forget()
        if not self._states:
            self.current = None
            for connection in connections:
                self._end(connection, Retired("nothing left to carry"))

    def replace(self, after_s: float = 0.0) -> None:
        """Make another connection in `after_s`; the present one goes on until that is live."""
        self._due_s = min(self._due_s, clock.monotonic() + after_s)
        self._wake.set()

    def give_up(self, reason: str, *, lost_ms: int, after_s: float = 0.0) -> None:
        """The present connection is of no use since `lost_ms`."""
        if self.current is not None:
            self._resume_s = clock.monotonic() + after_s
            self.current.end(Broken(reason, lost_ms=lost_ms, cause="silence"))

    async def _until_due(self) -> None:
        while (wait_s := self._wait_s()) > 0:
            self._wake.clear()
            with suppress(TimeoutError):
                async with clock.timeout(min(wait_s, _IDLE_S)):
                    await self._wake.wait()

    def _wait_s(self) -> float:
        if not self.states:
            return _IDLE_S
        due_s = 0.0 if self.current is None else self._due_s
        return max(due_s, self._resume_s) - clock.monotonic()

    async def _succeed(self, group: asyncio.TaskGroup) -> None:
        """Make a connection; once it is live, it takes the place of the present one."""
        started_s = clock.monotonic()
        self._due_s = float("inf")
        successor = Connection(
            self.name,
            self.channel,
            self.states,
            self._setup,
            roll=self._roll,
            tally=self._tally,
            leaving=self._on_leaving,
        )
        self._pending = successor
        self._lives[successor] = group.create_task(self._live(successor))
        await successor.settled.wait()
        self._pending = None
        if not self._states or successor.over:
            self._due_s = min(self._due_s, clock.monotonic())
            return
        before, self.current = self.current, successor
        self.last_error = ""
        lifetime_s = self._setup.adapter.lifetime_s
        if lifetime_s:
            life_s = lifetime_s * (1.0 - random.uniform(*LIFE_MARGIN))
            self._due_s = min(self._due_s, started_s + life_s)
        if before is not None:
            group.create_task(self._retire(before))
        if self._renewed is not None:
            self._renewed(self)
        if self._complain("live"):
            _log.info("feed live %s", kv(feed=self.name, streams=len(successor.lanes)))

    async def _live(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Retired:
            return
        except (Broken, Refused) as error:
            self._broke(connection, error)
        finally:
            del self._lives[connection]
            if self.current is connection:
                self.current = None
            # A cancelled one has not told anybody waiting for it.
            connection.settled.set()
            self._wake.set()

    def _broke(self, connection: Connection, error: Broken | Refused) -> None:
        if connection is not self.current and connection.live_ms and self.current is not None:
            return  # Its successor works already.
        self.last_error = str(error)
        self.reconnects += 1
        lived_s = (clock.now_ms() - connection.live_ms) / 1000 if connection.live_ms else 0.0
        if lived_s > STEADY_S:
            self._failures.reset()
            self._breaks.reset()
        delay_s = (self._breaks if connection.live_ms else self._failures).next()
        self._resume_s = max(self._resume_s, clock.monotonic() + delay_s)
        if self._complain("broke"):
            _log.warning(
                "feed broke %s",
                kv(feed=self.name, error=error, retry_s=round(delay_s, 1)),
            )

    def _on_leaving(self, reason: str) -> None:
        _log.info("exchange is closing a connection %s", kv(feed=self.name, reason=reason))
        self.replace()

    async def _retire(self, connection: Connection) -> None:
        await clock.sleep(OVERLAP_S)
        self._end(connection, Retired("replaced"))

    def _end(self, connection: Connection, reason: Exception) -> None:
        life = self._lives.get(connection)
        if life is None:
            return
        if connection.state in (State.WAITING, State.CONNECTING):
            life.cancel()
        else:
            connection.end(reason)
