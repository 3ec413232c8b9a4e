"""A small exchange for tests: Binance spot's dialect over real sockets, behind a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import WSMsgType, web


class Venue:
    """Lists `symbols` and sends what the test tells it to."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.url = ""
        self.port = 0
        self.subscribed = asyncio.Event()
        self.connections = 0
        self.down = False
        self._sockets: set[web.WebSocketResponse] = set()
        self._next_id = 1

    async def trade(self, symbol: str, ts_ms: int, price: float, size: float, buy: bool) -> int:
        """Send a trade to everyone; its id."""
        id = self._next_id
        self._next_id += 1
        await self.send(
            {
                "e": "aggTrade", "E": ts_ms, "s": symbol, "a": id, "p": str(price),
                "q": str(size), "f": id, "l": id, "T": ts_ms, "m": not buy,
            }
        )  # fmt: skip
        return id

    async def send(self, message: object) -> None:
        """Send a frame to everyone."""
        for socket in self._sockets:
            await socket.send_str(msgspec.json.encode(message).decode())

    async def drop(self) -> None:
        """Close every connection."""
        self.subscribed.clear()
        for socket in list(self._sockets):
            await socket.close()

    async def _instruments(self, _: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503, headers={"Retry-After": "0"})
        rows = [
            {"symbol": s, "status": "TRADING", "baseAsset": s[:-4], "quoteAsset": s[-4:]}
            for s in self.symbols
        ]
        return web.Response(body=msgspec.json.encode({"symbols": rows}))

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = msgspec.json.decode(message.data)
                    await socket.send_json({"result": None, "id": asked["id"]})
                    self.subscribed.set()
        finally:
            self._sockets.discard(socket)
        return socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Venue]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/api.binance.com/api/v3/exchangeInfo", self._instruments)
        app.router.add_get("/stream.binance.com/ws", self._socket)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self.port = runner.addresses[0][1]
            self.url = f"http://127.0.0.1:{self.port}"
            yield self
        finally:
            await runner.cleanup()
