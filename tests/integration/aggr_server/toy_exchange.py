"""A small exchange over real sockets: sends trades all the time and can be made to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from aiohttp import WSMsgType, web

from aggr_server import clock
from tests.unit.aggr_server.playing import frame


class ToyExchange:
    """Publishes an event of every stream in `every_s` each so many seconds.

    `mute`: streams that are subscribed to and send nothing. `refusal`: status and headers instead
    of a websocket. `lifetime_s`: age at which connections are cut. `attempts`: when connections
    were asked for, by `clock.monotonic`. `sent`: events per stream, whoever received them.
    `newest_ms`: the newest event per instrument.
    """

    def __init__(self, every_s: dict[str, float]) -> None:
        self.every_s = every_s
        self.mute: set[str] = set()
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.lifetime_s = 0.0
        self.attempts: list[float] = []
        self.subscriptions: list[list[str]] = []
        self.sent = dict.fromkeys(every_s, 0)
        self.newest_ms: dict[str, int] = {}
        self.cut = 0
        self.gateway = ""
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}

    def distances(self) -> list[float]:
        """Seconds between connection attempts."""
        return [b - a for a, b in pairwise(self.attempts)]

    def reset(self) -> None:
        """Break every connection without a word."""
        for socket in list(self._sockets):
            self._break(socket)

    def _break(self, socket: web.WebSocketResponse) -> None:
        self._sockets.pop(socket, None)
        request = socket._req
        if request is not None and request.transport is not None:
            self.cut += 1
            request.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ToyExchange]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/toy.example/ws", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        tasks: list[asyncio.Task[None]] = []
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.gateway = f"http://127.0.0.1:{runner.addresses[0][1]}"
            tasks = [asyncio.create_task(self._publish(stream)) for stream in self.every_s]
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()

    async def _publish(self, stream: str) -> None:
        wire, _, kind = stream.partition(":")
        what = "trade" if kind == "trades" else "liquidation"
        while True:
            await clock.sleep(self.every_s[stream])
            self.sent[stream] += 1
            now_ms = clock.now_ms()
            if kind == "trades":
                self.newest_ms[wire] = now_ms
            if stream in self.mute:
                continue
            text = frame(what, wire=wire, id=self.sent[stream], ts=now_ms).decode()
            for socket, subscribed in list(self._sockets.items()):
                if stream in subscribed and not socket.closed:
                    await socket.send_str(text)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.attempts.append(clock.monotonic())
        if self.refusal is not None:
            status, headers = self.refusal
            return web.Response(status=status, headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = set()
        self.subscriptions.append([])
        asked = self.subscriptions[-1]
        end = asyncio.create_task(self._expire(socket)) if self.lifetime_s else None
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked += message.data.split()
                    self._sockets[socket] |= set(message.data.split())
                    await socket.send_str(frame("ack").decode())
        finally:
            self._sockets.pop(socket, None)
            if end is not None:
                end.cancel()
        return socket

    async def _expire(self, socket: web.WebSocketResponse) -> None:
        await clock.sleep(self.lifetime_s)
        self._break(socket)
