"""What a simulated venue is: its instruments, its routes, and its frames."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from aiohttp import WSMsgType, web

from services.simulator.connections import Client, Hub
from services.simulator.instruments import Instrument, Trade
from services.simulator.market import Market

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[Mapping[str, str]], Any]


class BadRequest(Exception):
    """The venue refuses a REST request: HTTP `status`, and the `body` it says so with."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Venue(ABC):
    """A venue; routes are `/HOST/path` behind the gateway.

    `ping_interval_s`: how often the venue sends websocket ping frames. `silence_s`: a connection
    on which nothing moves for so long is closed.
    """

    instruments: ClassVar[tuple[Instrument, ...]]
    ping_interval_s: ClassVar[float | None] = None
    silence_s: ClassVar[float | None] = None
    serves_candles: ClassVar[bool] = False

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market = market
        self.hub = hub

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Every route of the venue."""

    @abstractmethod
    def publish(self, trades: Sequence[Trade]) -> None:
        """Send trades of one instrument, and the liquidations among them, to who listens."""

    @abstractmethod
    def channel(self, instrument: Instrument) -> str:
        """The hub's channel of an instrument's trades."""

    @abstractmethod
    def message(self, client: Client, path: str, text: str) -> None:
        """React to what a client sent over the socket at `path`."""

    def greet(self, client: Client, request: web.Request) -> None:  # noqa: B027
        """A client has just connected; most venues wait for its first message."""

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket until it closes."""
        socket = web.WebSocketResponse(
            heartbeat=self.ping_interval_s, compress=False, max_msg_size=1 << 17
        )
        await socket.prepare(request)
        client = Client(socket, request)
        self.hub.clients.add(client)
        writer = asyncio.create_task(client.write())
        try:
            self.greet(client, request)
            await self._listen(client, request.path)
        finally:
            writer.cancel()
            self.hub.forget(client)
            await socket.close()
        return socket

    async def _listen(self, client: Client, path: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait = self._patience(client)
            try:
                message = await client.socket.receive(timeout=wait)
            except TimeoutError:
                if self.silence_s and loop.time() - client.last_sent < self.silence_s:
                    continue
                return
            if message.type is not WSMsgType.TEXT:
                return
            self.message(client, path, message.data)

    def _patience(self, client: Client) -> float | None:
        return self.silence_s


def rest(path: str, answer: Answer) -> web.RouteDef:
    """A GET route; `answer` gets the query parameters and returns what is sent as JSON."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return json_response(answer({**request.query, **request.match_info}))
        except BadRequest as refused:
            return json_response(refused.body, status=refused.status)

    return web.get(path, handle)


def json_response(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


def encode(message: object) -> str:
    """JSON text of a frame."""
    return msgspec.json.encode(message).decode()


def whole(parameters: Mapping[str, str], name: str, default: int) -> int:
    """An integer parameter; the default if it is missing or no number."""
    text = parameters.get(name, "")
    return int(text) if text.isdecimal() else default
