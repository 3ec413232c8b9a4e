"""Bitfinex, spot and perpetuals. https://docs.bitfinex.com/reference/ws-public-trades"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client, Hub
from services.simulator.faults import Faults
from services.simulator.instruments import Instrument, Trade
from services.simulator.tape import Tape
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("BITFINEX:BTCUSD", "BTC", "USD", "spot", "tBTCUSD", 1, 6, 0.05, 2.5, 0.6,
               quiet=0.2, apart=True),
    Instrument("BITFINEX:BTCF0:USTF0", "BTC", "USDT", "perp", "tBTCF0:USTF0", 1, 4, 0.03, 3.0, 0.4,
               quiet=0.25, apart=True),
)  # fmt: skip

_OLD_TRADES = 30
_MOST_CHANNELS = 25
_MOST = 10_000
_LIQUIDATIONS = "liq:global"
_HERE = "CHANNEL"
"""Stands in a frame for the number each client was given."""


class _Message(msgspec.Struct):
    event: str
    channel: str = ""
    symbol: str = ""
    key: str = ""


class Bitfinex(Venue):
    """Channels are numbered anew for each client; every trade comes twice, after old ones."""

    name = "BITFINEX"
    instruments = INSTRUMENTS
    beat_s = 15.0
    beats_missed = 1 << 30
    signed = True

    def __init__(self, market: Tape, hub: Hub, faults: Faults) -> None:
        super().__init__(market, hub, faults)
        self._numbers = count(10_001)
        self._newest: dict[Client, int] = {}

    def routes(self) -> list[web.RouteDef]:
        root = "/api-pub.bitfinex.com"
        return [
            web.get(f"{root}/ws/2", self.socket),
            rest(f"{root}/v2/conf/{{what}}", self._conf),
            rest(f"{root}/v2/trades/{{symbol}}/hist", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"bitfinex/trades/{instrument.native}"

    def greet(self, client: Client, request: web.Request) -> None:
        client.send(encode({"event": "info", "version": 2, "platform": {"status": 1}}))

    def beat(self, client: Client) -> str:
        return f'[{self._newest.get(client, 0)},"hb"]'

    def farewell(self, client: Client) -> str:
        text = "Stopping. Please try to reconnect"
        return encode({"event": "info", "code": 20051, "msg": text})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Forget the numbers of clients that have gone."""
        try:
            return await super().socket(request)
        finally:
            self._newest = {c: n for c, n in self._newest.items() if c in self.hub.clients}

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode({"event": "error", "msg": "invalid", "code": 10000}))
            return
        if message.event == "ping":
            client.send(encode({"event": "pong", "ts": self.market.clock()}))
        elif message.event == "subscribe":
            self._subscribe(client, message)
        else:
            client.send(encode({"event": "error", "msg": "unknown event", "code": 10000}))

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            frames = [
                f'[{_HERE},"{kind}",{encode(_row(trade))}]'
                for kind in ("te", "tu")
                for trade in trades
            ]
            self.hub.publish(channel, frames, _numbered)

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        """First what is to be liquidated, then that it was sold into the market."""
        frames = [f"[{_HERE},[{encode(_position(trade, n))}]]" for trade in trades for n in (0, 1)]
        self.hub.publish(f"bitfinex/{_LIQUIDATIONS}", frames, _numbered)

    def _subscribe(self, client: Client, message: _Message) -> None:
        instrument = self._find(message.symbol)
        liquidations = message.channel == "status" and message.key == _LIQUIDATIONS
        if message.channel not in ("trades", "status"):
            _refuse(client, message, 10302, "channel: unknown")
            return
        if not liquidations and (message.channel != "trades" or instrument is None):
            _refuse(client, message, 10300, "symbol: invalid")
            return
        channel = self.channel(instrument) if instrument else f"bitfinex/{_LIQUIDATIONS}"
        taken = self.hub.channels_of(client)
        if channel in taken:
            _refuse(client, message, 10301, "subscribe: dup")
            return
        if len(taken) >= _MOST_CHANNELS:
            _refuse(client, message, 10305, "limit: reached")
            return
        number = self._newest[client] = next(self._numbers)
        told = {"event": "subscribed", "channel": message.channel, "chanId": number}
        if instrument:
            told |= {"symbol": instrument.native, "pair": instrument.native[1:]}
            client.send(encode(told))
            now = self.market.clock() + 1
            old = self.market.before(instrument.market, now, _OLD_TRADES)
            client.send(encode([number, [_row(trade) for trade in reversed(old)]]))
        else:
            client.send(encode(told | {"key": message.key}))
        self.hub.subscribe(client, channel, str(number))

    def _conf(self, parameters: Mapping[str, str]) -> list[list[str]]:
        kinds = {"pub:list:pair:exchange": "spot", "pub:list:pair:futures": "perp"}
        return [
            [i.native[1:] for i in self.instruments if i.kind == kinds.get(what)]
            for what in parameters["what"].split(",")
        ]

    def _trades(self, parameters: Mapping[str, str]) -> list[Any]:
        """From `start` to `end`, both inclusive; the newest first unless sorted."""
        instrument = self._find(parameters["symbol"])
        if instrument is None:
            raise BadRequest(500, ["error", 10020, "symbol: invalid"])
        limit = min(_MOST, whole(parameters, "limit", 125))
        end = whole(parameters, "end", self.market.clock())
        start = whole(parameters, "start", 0)
        if parameters.get("sort") == "1":
            return [_row(t) for t in self.market.since(instrument.market, start, end, limit)]
        found = self.market.before(instrument.market, end + 1, limit)
        return [_row(trade) for trade in reversed(found) if trade.ts_ms >= start]

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _numbered(frame: str, number: str) -> str:
    return frame.replace(_HERE, number, 1)


def _refuse(client: Client, message: _Message, code: int, text: str) -> None:
    told = {"event": "error", "channel": message.channel, "msg": text, "code": code}
    client.send(encode(told | ({"symbol": message.symbol} if message.symbol else {})))


def _row(trade: Trade) -> list[Any]:
    """Sales have a negative amount."""
    amount = trade.size if trade.buy else f"-{trade.size}"
    return [
        trade.id, trade.ts_ms, msgspec.Raw(amount.encode()), msgspec.Raw(trade.price.encode())
    ]  # fmt: skip


def _position(trade: Trade, executed: int) -> list[Any]:
    """A long has a positive amount; the order that closes it sells."""
    amount = msgspec.Raw((f"-{trade.size}" if trade.buy else trade.size).encode())
    price = msgspec.Raw(trade.price.encode())
    return [
        "pos", trade.id, trade.ts_ms, None, trade.instrument.native, amount, price, None,
        executed, executed, None, price,
    ]  # fmt: skip
