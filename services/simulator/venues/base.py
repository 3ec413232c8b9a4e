"""What a simulated venue is: its instruments, its routes, and its frames."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import msgspec
from aiohttp import WSMsgType, web

from aggr_server import clock
from services.simulator.connections import Client, Frame, Hub, Link
from services.simulator.faults import Faults
from services.simulator.instruments import Instrument, Trade
from services.simulator.tape import Tape

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

    `name`: as in the market ids. `ping_interval_s`: how often the venue sends websocket ping
    frames. `silence_s`: a connection on which nothing moves for so long is closed. `beat_s`: how
    often the venue sends `beat`; a client that leaves `beats_missed` of them unanswered is closed.
    `gapless`: a trade's id is one more than the last one's, so that a lost frame shows.
    `signed`: a negative size or price means a sale; garbage must not be made that way.
    """

    name: ClassVar[str]
    instruments: ClassVar[tuple[Instrument, ...]]
    ping_interval_s: ClassVar[float | None] = None
    silence_s: ClassVar[float | None] = None
    beat_s: ClassVar[float | None] = None
    beats_missed: ClassVar[int] = 2
    serves_candles: ClassVar[bool] = False
    gapless: ClassVar[bool] = False
    signed: ClassVar[bool] = False

    def __init__(self, market: Tape, hub: Hub, faults: Faults) -> None:
        self.market = market
        self.hub = hub
        self._faults = faults

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Every route of the venue."""

    @abstractmethod
    def publish(self, trades: Sequence[Trade]) -> None:
        """Send trades of one instrument to who listens."""

    @abstractmethod
    def channel(self, instrument: Instrument) -> str:
        """The hub's channel of an instrument's trades."""

    @abstractmethod
    def message(self, client: Client, path: str, text: str) -> None:
        """React to what a client sent over the socket at `path`."""

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:  # noqa: B027
        """Send the forced orders that `trades` of one instrument filled, if they have a feed."""

    def greet(self, client: Client, request: web.Request) -> None:  # noqa: B027
        """A client has just connected; most venues wait for its first message."""

    def beat(self, client: Client) -> str:
        """What the venue sends every `beat_s`; `message` sets `client.unanswered` back to 0."""
        return ""

    def farewell(self, client: Client) -> str:
        """The announcement that the venue is going to close; empty if it makes none."""
        return ""

    def pack(self, frame: str) -> Frame:
        """A frame as it travels, compressed for example."""
        return frame

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket until it closes."""
        heartbeat = clock.real(self.ping_interval_s) if self.ping_interval_s else None
        socket = web.WebSocketResponse(heartbeat=heartbeat, compress=False, max_msg_size=1 << 17)
        await socket.prepare(request)
        client = Client(socket, request, self.name, self.pack, self._link)
        self.hub.clients.add(client)
        tasks = [asyncio.create_task(client.write())]
        if self.beat_s:
            tasks.append(asyncio.create_task(self._keep_beating(client, self.beat_s)))
        try:
            self.greet(client, request)
            await self._listen(client, request.path)
        finally:
            for task in tasks:
                task.cancel()
            self.hub.forget(client)
            await socket.close()
        return socket

    async def _listen(self, client: Client, path: str) -> None:
        while True:
            wait = self._patience(client)
            try:
                async with asyncio.timeout(None if wait is None else clock.real(wait)):
                    message = await client.socket.receive()
            except TimeoutError:
                if self.silence_s and clock.monotonic() - client.last_sent < self.silence_s:
                    continue
                return
            if message.type is not WSMsgType.TEXT:
                return
            self.message(client, path, message.data)

    async def _keep_beating(self, client: Client, every_s: float) -> None:
        while True:
            await clock.sleep(every_s)
            if client.unanswered >= self.beats_missed:
                client.close(1002)
                return
            client.unanswered += 1
            client.send(self.beat(client))

    def _patience(self, client: Client) -> float | None:
        return self.silence_s

    def _link(self) -> Link | None:
        slow = self._faults.slow(self.name)
        return None if slow is None else Link(slow.latency_ms / 1000, slow.bytes_per_s)


def rest(path: str, answer: Answer, method: Literal["GET", "POST"] = "GET") -> web.RouteDef:
    """A route; `answer` gets the parameters and returns what is sent as JSON.

    Parameters are those of the query, of the path, and of a JSON body.
    """

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        try:
            named = msgspec.json.decode(body) if body else {}
        except msgspec.DecodeError as error:
            return json_response({"error": str(error)}, 400)
        parameters = {**request.query, **(named if isinstance(named, dict) else {})}
        try:
            return json_response(answer(parameters | request.match_info))
        except BadRequest as refused:
            return json_response(refused.body, status=refused.status)

    return web.route(method, path, handle)


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
    text = str(parameters.get(name, ""))
    return int(text) if text.isdecimal() else default


def iso_time(ts_ms: int, microsecond: int = 0) -> str:
    """ISO 8601 in UTC, to the microsecond if one is given."""
    second, ms = divmod(ts_ms, 1000)
    text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}{f'{microsecond:03d}' if microsecond else ''}Z"
