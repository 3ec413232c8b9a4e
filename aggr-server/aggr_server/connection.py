"""One websocket's life: connect, subscribe, keep alive, hand on what arrives, end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from logging import getLogger
from urllib.parse import urlsplit

from aggr_server import clock
from aggr_server.entrance import Ask, address
from aggr_server.exchanges.base import (
    UNREADABLE,
    Ack,
    Adapter,
    Greeting,
    Leaving,
    Liquidation,
    Rejection,
    Reply,
    Trade,
)
from aggr_server.gate import Gate
from aggr_server.log import kv
from aggr_server.streams import Lane, StreamState
from aggr_server.subscribing import NotSubscribed, Roll, Subscriber
from aggr_server.throttle import Occasionally
from aggr_server.transport import Connector, Disconnected, Refused, Socket, explain_status

GREET_WITHIN_S = 15.0
CHECK_EVERY_S = 1.0
GARBAGE_S = 10.0
"""Frames that cannot be read, and nothing else, for this long: the connection is of no use."""

REPLIES_WAITING = 100

_log = getLogger(__name__)


class State(StrEnum):
    """Where a connection, or a feed, stands."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    LIVE = "live"


class Broken(Exception):
    """The connection is of no use any more. `lost_ms`: since when; 0: since now."""

    def __init__(self, reason: str, *, lost_ms: int = 0, cause: str = "disconnect") -> None:
        super().__init__(reason)
        self.lost_ms = lost_ms
        self.cause = cause


class Retired(Exception):
    """Others have taken over; the connection is closed on purpose."""


@dataclass(frozen=True)
class Setup:
    """What all connections to a venue share. `batch`, `gateway` and `ask` as in `VenueFeeds`."""

    adapter: Adapter
    connector: Connector
    gate: Gate
    gateway: str = ""
    batch: int = 100
    ask: Ask | None = None


class Tally:
    """Counts of one feed, over all its connections."""

    def __init__(self) -> None:
        self.frames = 0
        self.parse_errors = 0


class Connection:
    """One websocket for the streams `states` of one channel.

    `settled` is set when it is live (`live_ms` then says since when), or has ended before that.
    `leaving` is called when the venue announces its end.
    """

    def __init__(
        self,
        name: str,
        channel: str,
        states: Sequence[StreamState],
        setup: Setup,
        *,
        roll: Roll,
        tally: Tally,
        leaving: Callable[[str], None],
    ) -> None:
        self.state = State.WAITING
        self.live_ms = 0
        self.over = False
        self.settled = asyncio.Event()
        self.lanes = {state: state.enter() for state in states}
        self._name = name
        self._channel = channel
        self._facts = setup.adapter.channels[channel]
        self._setup = setup
        self._adapter = setup.adapter
        self._roll = roll
        self._tally = tally
        self._leaving = leaving
        self._trades = _by_wire(self.lanes, "trades")
        self._liquidations = _by_wire(self.lanes, "liquidations")
        self._parse = setup.adapter.session()
        self._replies: asyncio.Queue[str] = asyncio.Queue(REPLIES_WAITING)
        self._greeted = asyncio.Event()
        self._subscriber: Subscriber | None = None
        self._fault: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._frames = 0
        self._bad = 0
        self._bad_from_ms = 0
        self._last_frame_ms = 0
        self._tick_ms = 0
        self._blamed: set[StreamState] = set()
        self._complain = Occasionally(60.0)

    @property
    def host(self) -> str:
        """The venue's own host, whatever gateway is in front of it."""
        return urlsplit(self._facts.url).hostname or ""

    def events(self) -> int:
        """Trades and forced orders received so far."""
        return sum(lane.count for lane in self.lanes.values())

    def end(self, reason: Exception) -> None:
        """Make `run` end with `reason`, if it has connected; else cancel the task it runs in."""
        if not self._fault.done():
            self._fault.set_result(reason)

    def forget(self, state: StreamState) -> None:
        """Hand on nothing of this stream any more."""
        if (lane := self.lanes.pop(state, None)) is not None:
            state.ended(lane, clock.now_ms(), "dropped")
            lanes = self._trades if state.kind == "trades" else self._liquidations
            lanes.pop(state.stream.instrument.wire, None)

    async def run(self) -> None:
        """Never returns. Raises `Refused`, `Broken` or `Retired`."""
        error: Exception = Broken("cancelled")
        try:
            await self._work()
        except (Refused, Retired, Broken) as caught:
            error = caught
            raise
        except (Disconnected, NotSubscribed) as caught:
            clean = not isinstance(caught, Disconnected) or caught.clean
            error = Broken(str(caught), lost_ms=0 if clean else self._last_frame_ms)
            raise error from caught
        finally:
            self._finish(error)

    def _finish(self, error: Exception) -> None:
        now_ms = clock.now_ms()
        lost_ms, cause = now_ms, "disconnect"
        if isinstance(error, Broken):
            lost_ms, cause = error.lost_ms or now_ms, error.cause
        self.over = True
        self.state = State.WAITING
        self._confess(now_ms)
        for state, lane in self.lanes.items():
            state.ended(lane, lost_ms, cause)
        self.settled.set()

    async def _work(self) -> None:
        socket = await self._connect()
        self._last_frame_ms = self._tick_ms = clock.now_ms()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(socket.receive_all(self._on_frame, self._setup.batch))
                group.create_task(self._go_live(socket))
                group.create_task(self._reply(socket))
                group.create_task(self._check())
                group.create_task(self._obey())
                if self._adapter.ping(self._channel, 0):
                    group.create_task(self._keep_alive(socket))
        except* (Broken, Retired, Disconnected, NotSubscribed) as caught:
            raise _first(caught) from caught
        finally:
            await socket.close()

    async def _connect(self) -> Socket:
        async with self._setup.gate.attempt(self.host):
            self.state = State.CONNECTING
            try:
                url = await address(
                    self._adapter, self._channel, self._setup.gateway, self._setup.ask
                )
                return await self._setup.connector.connect(url, headers=self._facts.headers)
            except Refused as error:
                hint = explain_status(error.status)
                raise Refused(
                    f"{error}: {hint}" if hint else str(error),
                    status=error.status,
                    retry_after_s=error.retry_after_s,
                ) from error

    async def _go_live(self, socket: Socket) -> None:
        self.state = State.SUBSCRIBING
        if self._facts.settle_s:
            await clock.sleep(self._facts.settle_s)
        if self._facts.greets:
            try:
                async with clock.timeout(GREET_WITHIN_S):
                    await self._greeted.wait()
            except TimeoutError:
                raise Broken(f"no greeting within {GREET_WITHIN_S:.0f} s") from None
        self._subscriber = Subscriber(
            self._adapter, self._channel, list(self.lanes), self._roll, socket.send
        )
        accepted = await self._subscriber.run()
        if not accepted:
            raise Broken("the exchange refuses every stream of this connection")
        self.live_ms = clock.now_ms()
        self.state = State.LIVE
        now_s = clock.monotonic()
        for state in accepted:
            if state in self.lanes:
                state.confirmed(self.lanes[state], self.live_ms, now_s)
        self.settled.set()

    async def _keep_alive(self, socket: Socket) -> None:
        while True:
            await clock.sleep(self._adapter.ping_interval_s)
            await socket.send(self._adapter.ping(self._channel, clock.now_ms() // 1000))

    async def _reply(self, socket: Socket) -> None:
        while True:
            await socket.send(await self._replies.get())

    async def _obey(self) -> None:
        raise await self._fault

    def _on_frame(self, frame: bytes) -> int:
        self._tally.frames += 1
        self._frames += 1
        try:
            events = self._parse(frame)
        except UNREADABLE as error:
            self._unreadable(frame, error)
            return 0
        for event in events:
            if type(event) is Trade:
                lane = self._trades.get(event.wire)
                if lane is not None:
                    lane.count += 1
                    lane.take(event)
            elif type(event) is Liquidation:
                lane = self._liquidations.get(event.wire)
                if lane is not None:
                    lane.count += 1
                    lane.take(event)
            else:
                self._on_control(event)
        return len(events)

    def _on_control(self, event: object) -> None:
        if isinstance(event, Ack | Rejection):
            if self._subscriber is not None:
                self._subscriber.answered(event)
        elif isinstance(event, Reply):
            if self._replies.full():
                raise Broken("the exchange asks for more answers than it takes")
            self._replies.put_nowait(event.text)
        elif isinstance(event, Greeting):
            self._greeted.set()
        elif isinstance(event, Leaving):
            self._leaving(event.reason)

    def _unreadable(self, frame: bytes, error: Exception) -> None:
        self._tally.parse_errors += 1
        if not self._bad:
            self._bad_from_ms = self._tick_ms
            self._blamed = set()
        self._bad += 1
        if len(self._blamed) < len(self.lanes):
            self._blamed |= self._named_in(frame) or set(self.lanes)
        if self._complain():
            _log.error(
                "frame not understood %s",
                kv(
                    feed=self._name,
                    error=error,
                    frame=frame[:200].decode(errors="replace"),
                    remedy="its trades are fetched by REST where possible; update the adapter",
                ),
            )

    def _named_in(self, frame: bytes) -> set[StreamState]:
        """Streams of the instruments a frame names; of a frame cut short nobody knows."""
        if not frame.rstrip().endswith((b"}", b"]")):
            return set()
        return {s for s in self.lanes if s.stream.instrument.wire.encode() in frame}

    async def _check(self) -> None:
        """Once a second: what is certain, and what was unreadable."""
        garbage_s, frames, events = 0.0, self._frames, 0
        while True:
            await clock.sleep(CHECK_EVERY_S)
            now_ms, total = clock.now_ms(), self.events()
            if total != events:
                garbage_s = 0.0
            elif self._bad:
                garbage_s += (now_ms - self._tick_ms) / 1000
            if self._frames != frames:
                # They came some time after the last look.
                self._last_frame_ms = self._tick_ms
            frames, events = self._frames, total
            self._confess(now_ms)
            if garbage_s >= GARBAGE_S:
                self._distrust()
                raise Broken("nothing but frames that cannot be read", cause="unreadable")
            self._tick_ms = now_ms

    def _confess(self, now_ms: int) -> None:
        if self._bad:
            self._bad = 0
            for state in self._blamed:
                state.doubt(self._bad_from_ms, now_ms, "unreadable")

    def _distrust(self) -> None:
        for state in self.lanes:
            state.trusted = False


def _by_wire(lanes: dict[StreamState, Lane], kind: str) -> dict[str, Lane]:
    return {s.stream.instrument.wire: lane for s, lane in lanes.items() if s.kind == kind}


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
