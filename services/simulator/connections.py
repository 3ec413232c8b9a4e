"""Websocket clients and what they are subscribed to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from logging import getLogger

from aiohttp import web

from aggr_server.log import kv

_log = getLogger(__name__)

OUTBOX = 20_000
"""Frames that may wait for one client; a slower one is cut off, as the venues do."""


class Client:
    """One connection: a bounded outbox that one task writes to the socket."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self._request = request
        self.last_sent = asyncio.get_running_loop().time()
        self._outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX)

    def send(self, frame: str) -> None:
        """Queue a text frame; a client that does not read is disconnected."""
        try:
            self._outbox.put_nowait(frame)
        except asyncio.QueueFull:
            transport = self._request.transport
            if transport and not transport.is_closing():
                _log.warning("client reads too slowly, cut off %s", kv(peer=self._request.remote))
                transport.abort()

    async def write(self) -> None:
        """Send what is queued until the socket closes."""
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._outbox.get()
            try:
                await self.socket.send_str(frame)
            except (ConnectionError, RuntimeError):
                return
            self.last_sent = loop.time()


class Hub:
    """Who listens to what. A channel is any string that a venue makes up for its frames."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Client, str]] = {}
        self.clients: set[Client] = set()
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
        frames: Iterable[str],
        wrapped: Callable[[str, str], str] = lambda frame, _wrap: frame,
    ) -> None:
        """Queue `frames` for every listener of `channel`."""
        listeners = self._listeners.get(channel)
        if not listeners:
            return
        for frame in frames:
            for client, wrap in list(listeners.items()):
                client.send(wrapped(frame, wrap) if wrap else frame)

    async def wait_for(self, channels: Iterable[str], timeout_s: float) -> list[str]:
        """Wait until all `channels` have a listener; those that still have none after a while."""
        wanted = list(channels)
        try:
            async with asyncio.timeout(timeout_s):
                while not all(self.heard(channel) for channel in wanted):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return [channel for channel in wanted if not self.heard(channel)]
