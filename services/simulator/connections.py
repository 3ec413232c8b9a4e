"""Websocket clients and what they are subscribed to."""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Callable, Iterable
from logging import getLogger
from typing import NamedTuple

from aiohttp import web

from aggr_server import clock
from aggr_server.log import kv

_log = getLogger(__name__)

OUTBOX = 20_000
"""Frames that may wait for one client; a slower one is cut off, as the venues do."""

Frame = str | bytes
Pack = Callable[[str], Frame]

_RESET = struct.pack("ii", 1, 0)


class _Waiting(NamedTuple):
    frame: Frame
    since_s: float


class _Goodbye(NamedTuple):
    code: int


class Link(NamedTuple):
    """How frames travel: `latency_s` later, at `bytes_per_s` unless that is 0."""

    latency_s: float
    bytes_per_s: int


class Client:
    """One connection: a bounded outbox that one task writes to the socket.

    `since_ms`: when it was opened. `unanswered`: heartbeats of the venue that the client owes an
    answer to.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        venue: str = "",
        pack: Pack | None = None,
        link: Callable[[], Link | None] = lambda: None,
    ) -> None:
        self.socket = socket
        self.venue = venue
        self.path = request.path
        self.since_ms = clock.now_ms()
        self.last_sent = clock.monotonic()
        self.unanswered = 0
        self._request = request
        self._pack = pack
        self._link = link
        self._outbox: asyncio.Queue[_Waiting | _Goodbye] = asyncio.Queue(OUTBOX)

    def send(self, frame: Frame) -> None:
        """Queue a frame; a client that does not read is disconnected."""
        self._put(_Waiting(frame, clock.monotonic()))

    def send_later(self, frame: Frame, delay_ms: float) -> None:
        """Queue a frame in a while; others may overtake it."""
        if delay_ms <= 0:
            self.send(frame)
        else:
            asyncio.get_running_loop().call_later(clock.real(delay_ms / 1000), self.send, frame)

    def close(self, code: int) -> None:
        """Close the connection once everything queued has been sent."""
        self._put(_Goodbye(code))

    def cut(self, *, reset: bool = False) -> None:
        """End the connection at once; `reset`: as a crashed host would."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        if reset:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
        transport.abort()

    async def write(self) -> None:
        """Send what is queued until the socket closes."""
        while True:
            waiting = await self._outbox.get()
            try:
                if isinstance(waiting, _Goodbye):
                    await self.socket.close(code=waiting.code)
                    return
                if link := self._link():
                    await _travel(waiting, link)
                await self._write(waiting.frame)
            except (ConnectionError, RuntimeError):
                return
            self.last_sent = clock.monotonic()

    async def _write(self, frame: Frame) -> None:
        packed = self._pack(frame) if self._pack and isinstance(frame, str) else frame
        if isinstance(packed, str):
            await self.socket.send_str(packed)
        else:
            await self.socket.send_bytes(packed)

    def _put(self, what: _Waiting | _Goodbye) -> None:
        try:
            self._outbox.put_nowait(what)
        except asyncio.QueueFull:
            _log.warning("client reads too slowly, cut off %s", kv(peer=self._request.remote))
            self.cut()


async def _travel(waiting: _Waiting, link: Link) -> None:
    left = waiting.since_s + link.latency_s - clock.monotonic()
    if left > 0:
        await clock.sleep(left)
    if link.bytes_per_s:
        await clock.sleep(len(waiting.frame) / link.bytes_per_s)


class Hub:
    """Who listens to what. A channel is any string that a venue makes up for its frames.

    `sender`: how frames go out while a fault is in force; None: as they are.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Client, str]] = {}
        self.clients: set[Client] = set()
        self.sender: Callable[[Client, Frame], None] | None = None
        self._changed = asyncio.Event()

    def subscribe(self, client: Client, channel: str, wrap: str = "") -> None:
        """Send `channel` to `client`; `wrap`: the venue's own mark for this subscription."""
        self._listeners.setdefault(channel, {})[client] = wrap
        self._changed.set()

    def unsubscribe(self, client: Client, channel: str) -> None:
        """The opposite of `subscribe`."""
        self._listeners.get(channel, {}).pop(client, None)

    def forget(self, client: Client) -> None:
        """Drop a client that is gone."""
        self.clients.discard(client)
        for listeners in self._listeners.values():
            listeners.pop(client, None)

    def heard(self, channel: str) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners.get(channel))

    def channels_of(self, client: Client) -> list[str]:
        """What a client is subscribed to."""
        return [channel for channel, clients in self._listeners.items() if client in clients]

    def publish(
        self,
        channel: str,
        frames: Iterable[Frame],
        wrapped: Callable[[str, str], str] = lambda frame, _wrap: frame,
    ) -> None:
        """Queue `frames` for every listener of `channel`."""
        listeners = self._listeners.get(channel)
        if not listeners:
            return
        send = self.sender or Client.send
        for frame in frames:
            for client, wrap in list(listeners.items()):
                marked = wrapped(frame, wrap) if wrap and isinstance(frame, str) else frame
                send(client, marked)

    async def wait_for(self, channels: Iterable[str], timeout_s: float) -> list[str]:
        """Wait until all `channels` have a listener; those that still have none after a while."""
        wanted = list(channels)
        try:
            async with clock.timeout(timeout_s):
                while not all(self.heard(channel) for channel in wanted):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return [channel for channel in wanted if not self.heard(channel)]
