"""Poloniex, spot. https://api-docs.poloniex.com/spot/websocket/market-data#trades"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("POLONIEX:BTC_USDT", "BTC", "USDT", "spot", "BTC_USDT", 2, 6, 0.03, 2.0, -0.3,
               quiet=0.25, apart=True),
    Instrument("POLONIEX:ETH_USDT", "ETH", "USDT", "spot", "ETH_USDT", 2, 6, 0.03, 1.5, -0.3,
               quiet=0.3, apart=True),
)  # fmt: skip

_MOST = 1000


class _Message(msgspec.Struct):
    event: str
    channel: list[str] = []
    symbols: list[str] = []


class Poloniex(Venue):
    """A connection is closed if nothing is heard of the client for a minute."""

    name = "POLONIEX"
    instruments = INSTRUMENTS
    silence_s = 60.0

    def routes(self) -> list[web.RouteDef]:
        root = "/api.poloniex.com"
        return [
            web.get("/ws.poloniex.com/ws/public", self.socket),
            rest(f"{root}/markets", lambda _: [_info(i) for i in self.instruments]),
            rest(f"{root}/v3/market/allInstruments", _no_contracts),
            rest(f"{root}/markets/{{symbol}}/trades", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"poloniex/trades/{instrument.native}"

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode({"event": "error", "message": "Bad request"}))
            return
        if message.event == "ping":
            client.send(encode({"event": "pong"}))
            return
        unknown = [s for s in message.symbols if s != "all" and self._find(s) is None]
        if message.event not in ("subscribe", "unsubscribe") or message.channel != ["trades"]:
            client.send(encode({"event": "error", "message": "Invalid channel or event"}))
        elif unknown:
            named = encode(unknown[:1])
            client.send(encode({"event": "error", "message": f"Invalid symbol value {named}"}))
        else:
            self._apply(client, message)

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            now = self.market.clock()
            rows = [{"symbol": t.instrument.native, **_row(t, now, "buy", "sell")} for t in trades]
            self.hub.publish(channel, [encode({"channel": "trades", "data": rows})])

    def _apply(self, client: Client, message: _Message) -> None:
        every = "all" in message.symbols
        chosen = [i for i in self.instruments if every or i.native in message.symbols]
        act = self.hub.subscribe if message.event == "subscribe" else self.hub.unsubscribe
        for instrument in chosen:
            act(client, self.channel(instrument))
        named = [i.native for i in chosen]
        client.send(encode({"event": message.event, "channel": "trades", "symbols": named}))

    def _trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """The newest ones, newest first; there is no way to older ones."""
        instrument = self._find(parameters["symbol"])
        if instrument is None:
            raise BadRequest(400, {"code": 24101, "message": "Invalid symbol"})
        limit = min(_MOST, whole(parameters, "limit", 500))
        now = self.market.clock()
        found = self.market.before(instrument.market, now + 1, limit)
        return [_row(trade, now, "BUY", "SELL") for trade in reversed(found)]

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _row(trade: Trade, now_ms: int, bought: str, sold: str) -> dict[str, Any]:
    return {
        "amount": trade.notional, "quantity": trade.size, "price": trade.price,
        "takerSide": bought if trade.buy else sold, "createTime": trade.ts_ms,
        "id": str(trade.id), "ts": now_ms,
    }  # fmt: skip


def _info(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.native, "baseCurrencyName": instrument.base,
        "quoteCurrencyName": instrument.quote, "displayName": f"{instrument.base}/USDT",
        "state": "NORMAL", "visibleStartTime": 1_659_018_819_512,
    }  # fmt: skip


def _no_contracts(_: Mapping[str, str]) -> dict[str, Any]:
    return {"code": 200, "msg": "Success", "data": []}
