"""A small exchange for tests: Binance spot's dialect over real sockets, behind a gateway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from aiohttp import WSMsgType, web

from aggr_server import clock
from aggr_server.wire import Bar


@dataclass(slots=True)
class Fill:
    """One trade on the tape."""

    id: int
    symbol: str
    ts_ms: int
    price: float
    size: float
    buy: bool


class Venue:
    """Lists `symbols`, sends what the test tells it to, and keeps a tape of it.

    `tells_past`: whether REST gives the tape away; `past_lag_ms`: how far it is behind. `down`:
    no list of instruments. `refuses`: no websockets.
    """

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.url = ""
        self.port = 0
        self.subscribed = asyncio.Event()
        self.connections = 0
        self.down = False
        self.refuses = False
        self.tells_past = True
        self.past_lag_ms = 0
        self.past_requests = 0
        self.tape: list[Fill] = []
        self._sockets: set[web.WebSocketResponse] = set()
        self._transports: dict[web.WebSocketResponse, asyncio.Transport] = {}

    async def trade(
        self, symbol: str, ts_ms: int, price: float, size: float, buy: bool, *, sent: bool = True
    ) -> int:
        """Put a trade on the tape, and send it to everyone if it is `sent`; its id."""
        fill = Fill(len(self.tape) + 1, symbol, ts_ms, price, size, buy)
        self.tape.append(fill)
        if sent:
            await self.send(_frame(fill))
        return fill.id

    async def again(self, id: int) -> None:
        """Send a trade once more."""
        await self.send(_frame(self.tape[id - 1]))

    async def keep_trading(self, symbol: str, per_s: float, dice: random.Random) -> None:
        """Trade at random moments, about `per_s` times a second, until cancelled."""
        price = 100.0
        while True:
            await clock.sleep(dice.expovariate(per_s))
            price = round(price * dice.choice((0.999, 1.0, 1.001)), 2)
            size = dice.randint(1, 500) / 100
            await self.trade(symbol, clock.now_ms(), price, size, dice.random() < 0.5)

    async def send(self, message: object) -> None:
        """Send a frame to everyone."""
        text = msgspec.json.encode(message).decode()
        for socket in list(self._sockets):
            try:
                await socket.send_str(text)
            except ConnectionError:
                self._sockets.discard(socket)

    async def drop(self) -> None:
        """Close every connection."""
        self.subscribed.clear()
        for socket in list(self._sockets):
            await socket.close()

    def reset(self) -> None:
        """Cut every connection without a word; what was under way is lost."""
        self.subscribed.clear()
        for socket in list(self._sockets):
            self._sockets.discard(socket)
            self._transports[socket].abort()

    def bars(self, market: str, symbol: str, from_s: int, to_s: int) -> dict[int, Bar]:
        """The bars of [from_s, to_s) as the tape has them."""
        bars: dict[int, Bar] = {}
        for fill in sorted(self.tape, key=lambda f: (f.ts_ms, f.id)):
            second = fill.ts_ms // 1000
            if fill.symbol != symbol or not from_s <= second < to_s:
                continue
            p, value = fill.price, fill.price * fill.size
            bar = bars.setdefault(second, Bar(second, market, p, p, p, p, 0, 0, 0, 0, 0, 0))
            bar.high, bar.low, bar.close = max(bar.high, p), min(bar.low, p), p
            if fill.buy:
                bar.vbuy, bar.cbuy = bar.vbuy + value, bar.cbuy + 1
            else:
                bar.vsell, bar.csell = bar.vsell + value, bar.csell + 1
        return bars

    async def _instruments(self, _: web.Request) -> web.Response:
        if self.down:
            return web.Response(status=503, headers={"Retry-After": "0"})
        rows = [
            {"symbol": s, "status": "TRADING", "baseAsset": s[:-4], "quoteAsset": s[-4:]}
            for s in self.symbols
        ]
        return web.Response(body=msgspec.json.encode({"symbols": rows}))

    async def _past(self, request: web.Request) -> web.Response:
        self.past_requests += 1
        if not self.tells_past:
            return web.Response(status=404)
        query = request.query
        known = clock.now_ms() - self.past_lag_ms
        from_id = int(query.get("fromId", 0))
        from_ms, to_ms = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
        rows = [
            {
                "a": f.id, "p": str(f.price), "q": str(f.size), "f": f.id, "l": f.id,
                "T": f.ts_ms, "m": not f.buy, "M": True,
            }
            for f in sorted(self.tape, key=lambda f: (f.ts_ms, f.id))
            if f.symbol == query["symbol"] and f.id >= from_id and from_ms <= f.ts_ms <= to_ms
            and f.ts_ms <= known
        ]  # fmt: skip
        return web.Response(body=msgspec.json.encode(rows[: int(query["limit"])]))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._sockets.add(socket)
        self._transports[socket] = transport
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    asked = msgspec.json.decode(message.data)
                    await socket.send_json({"result": None, "id": asked["id"]})
                    self.subscribed.set()
        finally:
            self._sockets.discard(socket)
            del self._transports[socket]
        return socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Venue]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/api.binance.com/api/v3/exchangeInfo", self._instruments)
        app.router.add_get("/api.binance.com/api/v3/aggTrades", self._past)
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


def _frame(fill: Fill) -> dict[str, object]:
    return {
        "e": "aggTrade", "E": fill.ts_ms, "s": fill.symbol, "a": fill.id, "p": str(fill.price),
        "q": str(fill.size), "f": fill.id, "l": fill.id, "T": fill.ts_ms, "m": not fill.buy,
    }  # fmt: skip
