"""KuCoin, spot and futures. https://www.kucoin.com/docs/websocket/spot-trading/public-channels"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client, Hub
from services.simulator.faults import Faults
from services.simulator.instruments import Instrument, Trade
from services.simulator.tape import Tape
from services.simulator.venues.base import Venue, encode, rest

INSTRUMENTS = (
    Instrument("KUCOIN:BTC-USDT", "BTC", "USDT", "spot", "BTC-USDT", 1, 8, 0.06, 3.0, -0.6,
               quiet=0.1, apart=True),
    Instrument("KUCOIN:ETH-USDT", "ETH", "USDT", "spot", "ETH-USDT", 2, 7, 0.06, 2.5, -0.6,
               quiet=0.15, apart=True),
    Instrument("KUCOIN:XBTUSDTM", "BTC", "USDT", "perp", "XBTUSDTM", 1, 0, 0.05, 3.0, 0.2,
               quiet=0.1, contract_decimals=3, apart=True, tells_liquidations=False),
    Instrument("KUCOIN:XBTUSDM", "BTC", "USD", "perp", "XBTUSDM", 1, 0, 0.02, 1.5, 0.2,
               quiet=0.3, apart=True, inverse_usd=1, tells_liquidations=False),
)  # fmt: skip

_SOCKETS = {"spot": "ws-api-spot.kucoin.com", "perp": "ws-api-futures.kucoin.com"}
_TOPICS = {"spot": "/market/match:", "perp": "/contractMarket/execution:"}
_RECENT = 100
_TOKENS = 1000
_POLICY_VIOLATION = 1008


class _Message(msgspec.Struct):
    type: str
    id: str | int = ""
    topic: str = ""
    response: bool = False


class Kucoin(Venue):
    """A token opens the socket, and a welcome begins it; nothing is heard before."""

    name = "KUCOIN"
    instruments = INSTRUMENTS
    silence_s = 60.0

    def __init__(self, market: Tape, hub: Hub, faults: Faults) -> None:
        super().__init__(market, hub, faults)
        self._tokens: deque[str] = deque(maxlen=_TOKENS)

    def routes(self) -> list[web.RouteDef]:
        spot, futures = "/api.kucoin.com/api", "/api-futures.kucoin.com/api/v1"
        return [
            *(web.get(f"/{host}/", self.socket) for host in _SOCKETS.values()),
            rest(f"{spot}/v1/bullet-public", lambda _: self._bullet("spot"), "POST"),
            rest(f"{futures}/bullet-public", lambda _: self._bullet("perp"), "POST"),
            rest(f"{spot}/v2/symbols", lambda _: self._listed("spot")),
            rest(f"{futures}/contracts/active", lambda _: self._listed("perp")),
            rest(f"{spot}/v1/market/histories", self._recent),
            rest(f"{futures}/trade/history", self._recent),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"kucoin{_TOPICS[instrument.kind]}{instrument.native}"

    def greet(self, client: Client, request: web.Request) -> None:
        if request.query.get("token") in self._tokens:
            client.send(encode({"id": request.query.get("connectId", ""), "type": "welcome"}))
            return
        client.send(_error("", 401, "token is invalid"))
        client.close(_POLICY_VIOLATION)

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(_error("", 400, "invalid message"))
            return
        if message.type == "ping":
            client.send(encode({"id": message.id, "type": "pong"}))
        elif message.type in ("subscribe", "unsubscribe"):
            self._apply(client, path, message)
        else:
            client.send(_error(message.id, 415, "type is not supported"))

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [_frame(trade) for trade in trades])

    def _apply(self, client: Client, path: str, message: _Message) -> None:
        kind = "spot" if _SOCKETS["spot"] in path else "perp"
        prefix, _, names = message.topic.partition(":")
        found = [self._find(name, kind) for name in names.split(",")]
        wanted = [instrument for instrument in found if instrument]
        if f"{prefix}:" != _TOPICS[kind] or len(wanted) < len(found):
            client.send(_error(message.id, 404, f"topic {message.topic} is not found"))
            return
        if message.response:
            client.send(encode({"id": message.id, "type": "ack"}))
        act = self.hub.subscribe if message.type == "subscribe" else self.hub.unsubscribe
        for instrument in wanted:
            act(client, self.channel(instrument))

    def _bullet(self, kind: str) -> dict[str, Any]:
        token = secrets.token_urlsafe(24) + "=="
        self._tokens.append(token)
        server = {
            "endpoint": f"wss://{_SOCKETS[kind]}/", "encrypt": True, "protocol": "websocket",
            "pingInterval": 18_000, "pingTimeout": 10_000,
        }  # fmt: skip
        return _ok({"token": token, "instanceServers": [server]})

    def _listed(self, kind: str) -> dict[str, Any]:
        describe = _symbol if kind == "spot" else _contract
        return _ok([describe(i) for i in self.instruments if i.kind == kind])

    def _recent(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The newest hundred, newest first."""
        name = parameters.get("symbol", "")
        found = self._find(name, "spot") or self._find(name, "perp")
        if found is None:
            return {"code": "400100", "msg": "symbol not exists"}
        newest = self.market.before(found.market, self.market.clock() + 1, _RECENT)
        return _ok([_past(trade) for trade in reversed(newest)])

    def _find(self, name: str, kind: str) -> Instrument | None:
        return next((i for i in self.instruments if (i.native, i.kind) == (name, kind)), None)


def _ok(data: Any) -> dict[str, Any]:
    return {"code": "200000", "data": data}


def _error(number: str | int, code: int, text: str) -> str:
    return encode({"id": number, "type": "error", "code": code, "data": text})


def _trade_id(trade: Trade) -> str:
    return f"{trade.id:024x}"


def _frame(trade: Trade) -> str:
    instrument = trade.instrument
    side = "buy" if trade.buy else "sell"
    ns = trade.ts_ms * 1_000_000 + trade.id % 1_000_000
    common: dict[str, Any] = {
        "symbol": instrument.native, "side": side, "tradeId": _trade_id(trade),
    }  # fmt: skip
    if instrument.kind == "spot":
        subject = "trade.l3match"
        data = common | {
            "sequence": str(trade.id), "size": trade.size, "price": trade.price,
            "time": str(ns), "type": "match",
        }  # fmt: skip
    else:
        subject = "match"
        data = common | {
            "sequence": trade.id, "size": int(trade.size), "price": trade.price, "ts": ns,
        }  # fmt: skip
    topic = _TOPICS[instrument.kind] + instrument.native
    return encode({"type": "message", "topic": topic, "subject": subject, "data": data})


def _past(trade: Trade) -> dict[str, Any]:
    ns = trade.ts_ms * 1_000_000 + trade.id % 1_000_000
    side = "buy" if trade.buy else "sell"
    if trade.instrument.kind == "spot":
        return {
            "sequence": str(trade.id), "side": side, "size": trade.size, "price": trade.price,
            "time": ns,
        }  # fmt: skip
    return {
        "sequence": trade.id, "side": side, "size": int(trade.size), "price": trade.price,
        "tradeId": _trade_id(trade), "ts": ns,
    }  # fmt: skip


def _symbol(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.native, "name": instrument.native, "baseCurrency": instrument.base,
        "quoteCurrency": instrument.quote, "priceIncrement": instrument.tick,
        "baseIncrement": instrument.step, "enableTrading": True,
    }  # fmt: skip


def _contract(instrument: Instrument) -> dict[str, Any]:
    inverse = bool(instrument.inverse_usd)
    return {
        "symbol": instrument.native, "baseCurrency": "XBT", "quoteCurrency": instrument.quote,
        "settleCurrency": "XBT" if inverse else instrument.quote,
        "multiplier": -1.0 if inverse else 10.0**-instrument.contract_decimals,
        "isInverse": inverse, "status": "Open", "expireDate": None,
        "tickSize": float(instrument.tick),
    }  # fmt: skip
