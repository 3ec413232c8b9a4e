"""An exchange on loopback that one of the library's classes takes for its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import WSMsgType, web

EXCHANGE = "coinbaseexchange"
PRODUCT = {
    "id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "quote_increment": "0.01",
    "base_increment": "0.00000001", "display_name": "BTC/USD", "min_market_funds": "1",
    "status": "online", "trading_disabled": False, "margin_enabled": False, "post_only": False,
    "limit_only": False, "cancel_only": False, "auction_mode": False,
}  # fmt: skip


class CcxtVenue:
    """Speaks REST and websocket under the paths of a gateway. `tape`: trades told by REST."""

    def __init__(self) -> None:
        self.url = ""
        self.sockets: list[web.WebSocketResponse] = []
        self.asked: list[str] = []
        self.tape: list[dict[str, object]] = []
        self.subscribed = asyncio.Event()
        self.failing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CcxtVenue]:
        """On a free port; `url` is the gateway."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def happen(self, number: int, ts_ms: int, price: float = 50_000.0) -> dict[str, object]:
        """A trade of half a coin, the taker buying, told by REST from now on."""
        time = datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        trade: dict[str, object] = {
            "trade_id": number, "side": "sell", "size": "0.5", "price": str(price),
            "time": f"{time}.{ts_ms % 1000:03d}000Z",
        }  # fmt: skip
        self.tape.insert(0, trade)
        return trade

    async def send(self, number: int, ts_ms: int, price: float = 50_000.0) -> None:
        """The same, over the websocket as well."""
        trade = self.happen(number, ts_ms, price)
        await self.sockets[-1].send_json(
            {
                "type": "match", "maker_order_id": "2a0da34e", "taker_order_id": "3c82abaa",
                "product_id": "BTC-USD", "sequence": number, **trade,
            }
        )  # fmt: skip

    async def break_off(self) -> None:
        """End the connection."""
        self.subscribed.clear()
        await self.sockets[-1].close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        self.asked.append(request.path_qs)
        if self.failing:
            return web.json_response({"message": "Internal error"}, status=500)
        if request.path.endswith("/products"):
            return web.json_response([PRODUCT])
        return web.json_response(self.tape if request.path.endswith("/trades") else [])

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT and "subscribe" in message.data:
                self.subscribed.set()
        return socket
