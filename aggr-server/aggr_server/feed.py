"""The life of one websocket: connect, subscribe, keep alive, notice silence, reconnect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from logging import getLogger
from typing import Protocol

import msgspec

from aggr_server.exchanges.base import Ack, Adapter, Liquidation, Rejection, Trade
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.silence import SilenceWatch
from aggr_server.throttle import Backoff, Occasionally, Pacer
from aggr_server.transport import Connector, Disconnected, Refused, Socket, explain_status

CONFIRM_WITHIN_S = 15.0
STEADY_AFTER_S = 30.0
CHECK_EVERY_S = 1.0

_log = getLogger(__name__)


class State(StrEnum):
    """Where a feed stands."""

    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    WAITING = "waiting"


class Sink(Protocol):
    """Who wants to know what a feed can vouch for."""

    def live(self, markets: Iterable[MarketState], at_ms: int) -> None:
        """From `at_ms` on, every trade of `markets` is received."""

    def lost(self, markets: Iterable[MarketState], at_ms: int, reason: str) -> None:
        """After `at_ms`, trades of `markets` may have been missed."""

    def refused(self, market: MarketState, reason: str) -> None:
        """The venue does not deliver this market."""


class _Broken(Exception):
    """The connection must be given up. `silent`: markets that had stopped before `lost_ms`."""

    def __init__(self, text: str, lost_ms: int = 0, silent: tuple[MarketState, ...] = ()) -> None:
        super().__init__(text)
        self.lost_ms = lost_ms
        self.silent = silent


def now_ms() -> int:
    """The collector's clock, UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Feed:
    """One connection that carries `markets` of one channel of a venue.

    `batch`: trades handled before other tasks get a turn. `pacer` is shared by all connections to
    the venue.
    """

    def __init__(
        self,
        adapter: Adapter,
        channel: str,
        url: str,
        markets: list[MarketState],
        *,
        connector: Connector,
        sink: Sink,
        pacer: Pacer,
        batch: int = 100,
        clock_ms: Callable[[], int] = now_ms,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = f"{adapter.name}/{channel}"
        self.state = State.CONNECTING
        self.last_error = ""
        self.reconnects = 0
        self.frames = 0
        self.parse_errors = 0
        self.last_frame_ms = 0
        self.markets = markets
        self._adapter = adapter
        self._channel = channel
        self._url = url
        self._connector = connector
        self._sink = sink
        self._pacer = pacer
        self._batch = batch
        self._clock_ms = clock_ms
        self._backoff = backoff or Backoff()
        self._by_wire = {m.instrument.wire: m for m in markets}
        self._parse = adapter.parse
        self._answers_due = 0
        self._confirmed = asyncio.Event()
        self._parse_error_line = Occasionally(60.0)
        self._complain = Occasionally(30.0)

    @property
    def is_live(self) -> bool:
        """Whether trades flow."""
        return self.state is State.LIVE

    async def run(self) -> None:
        """Keep the connection as long as the venue delivers any of its markets."""
        while self._active():
            started = time.monotonic()
            delay_s = 0.0
            try:
                await self._pacer.turn()
                self.state = State.CONNECTING
                await self._connection()
            except Refused as error:
                hint = explain_status(error.status)
                self.last_error = f"{error}: {hint}" if hint else str(error)
                delay_s = error.retry_after_s
            except _Broken as error:
                self.last_error = str(error)
            if time.monotonic() - started > STEADY_AFTER_S:
                self._backoff.reset()
            delay_s = max(delay_s, self._backoff.next())
            self._report_break(delay_s)
            await asyncio.sleep(delay_s)

    def _report_break(self, delay_s: float) -> None:
        was_live = self.is_live
        self.state = State.WAITING
        self.reconnects += 1
        if self._complain() or was_live:
            retry_s = round(delay_s, 1)
            _log.warning(
                "feed broke %s", kv(feed=self.name, error=self.last_error, retry_s=retry_s)
            )

    async def _connection(self) -> None:
        socket = await self._connector.connect(self._url)
        self.last_frame_ms = self._clock_ms()
        self._confirmed.clear()
        errors: tuple[Exception, ...] = ()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(socket))
                group.create_task(self._subscribe(socket))
                group.create_task(self._watch())
                if self._adapter.ping(self._channel, 0):
                    group.create_task(self._keep_alive(socket))
        except* (_Broken, Disconnected) as caught:
            errors = caught.exceptions
            self._report_loss(errors[0])
        finally:
            await socket.close()
        raise _Broken(str(errors[0]))

    def _report_loss(self, error: BaseException) -> None:
        markets = self._active()
        if isinstance(error, _Broken) and error.silent:
            self._sink.lost(error.silent, error.lost_ms, "silence")
            markets = [m for m in markets if m not in error.silent]
        clean = not isinstance(error, Disconnected) or error.clean
        self._sink.lost(markets, self._clock_ms() if clean else self.last_frame_ms, "disconnect")

    async def _receive(self, socket: Socket) -> None:
        await socket.receive_all(self._on_frame, self._batch)

    def _on_frame(self, frame: bytes) -> int:
        self.frames += 1
        try:
            events = self._parse(frame)
        except msgspec.MsgspecError as error:
            self._unreadable(frame, error)
            return 0
        for event in events:
            if isinstance(event, Trade):
                market = self._by_wire.get(event.wire)
                if market is not None:
                    market.trade(event)
            elif isinstance(event, Liquidation):
                market = self._by_wire.get(event.wire)
                if market is not None:
                    market.liquidation(event)
            elif isinstance(event, Ack | Rejection):
                self._on_answer(event)
        return len(events)

    def _unreadable(self, frame: bytes, error: Exception) -> None:
        self.parse_errors += 1
        if self._parse_error_line():
            _log.error(
                "frame not understood %s",
                kv(feed=self.name, error=error, frame=frame[:200].decode(errors="replace")),
            )

    def _on_answer(self, event: Ack | Rejection) -> None:
        if isinstance(event, Rejection):
            market = self._by_wire.get(event.wire)
            if market is None:
                raise _Broken(f"subscription rejected: {event.reason}")
            self._sink.refused(market, event.reason)
        self._answers_due -= 1
        if self._answers_due <= 0:
            self._confirmed.set()

    async def _subscribe(self, socket: Socket) -> None:
        self.state = State.SUBSCRIBING
        markets = self._active()
        streams = [
            stream
            for market in markets
            for stream in self._adapter.streams(self._channel, market.instrument)
        ]
        messages = self._adapter.subscriptions(self._channel, streams)
        self._answers_due = sum(message.acks for message in messages)
        for message in messages:
            await socket.send(message.text)
            await asyncio.sleep(self._adapter.message_spacing_s)
        try:
            async with asyncio.timeout(CONFIRM_WITHIN_S):
                await self._confirmed.wait()
        except TimeoutError:
            raise _Broken(f"subscription not confirmed within {CONFIRM_WITHIN_S:.0f} s") from None
        self.state = State.LIVE
        self.last_error = ""
        self._sink.live(self._active(), self._clock_ms())
        _log.info("feed live %s", kv(feed=self.name, markets=len(markets)))

    async def _keep_alive(self, socket: Socket) -> None:
        while True:
            await asyncio.sleep(self._adapter.ping_interval_s)
            await socket.send(self._adapter.ping(self._channel, self._clock_ms() // 1000))

    async def _watch(self) -> None:
        await self._confirmed.wait()
        watches = [(m, SilenceWatch(time.monotonic(), m.trades)) for m in self._active()]
        frames = -1
        while True:
            if frames != self.frames:
                frames, self.last_frame_ms = self.frames, self._clock_ms()
            await asyncio.sleep(CHECK_EVERY_S)
            now_s = time.monotonic()
            quiet = {m: watch.silent_for(now_s, m.trades) for m, watch in watches}
            silent = {market: quiet_s for market, quiet_s in quiet.items() if quiet_s is not None}
            if silent:
                market, quiet_s = max(silent.items(), key=lambda item: item[1])
                lost_ms = self._clock_ms() - int(quiet_s * 1000)
                text = f"{market.name} has been silent for {quiet_s:.0f} s"
                raise _Broken(text, lost_ms, tuple(silent))

    def _active(self) -> list[MarketState]:
        return [m for m in self.markets if not m.refused]
