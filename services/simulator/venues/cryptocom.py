"""Crypto.com Exchange, spot and perpetuals.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("CRYPTOCOM:BTC_USD", "BTC", "USD", "spot", "BTC_USD", 2, 5, 0.06, 3.0, 0.5,
               quiet=0.1, apart=True),
    Instrument("CRYPTOCOM:ETH_USD", "ETH", "USD", "spot", "ETH_USD", 2, 4, 0.06, 2.5, 0.5,
               quiet=0.15, apart=True),
    Instrument("CRYPTOCOM:BTCUSD-PERP", "BTC", "USD", "perp", "BTCUSD-PERP", 1, 4, 0.05, 4.0, 0.2,
               quiet=0.1, apart=True, tells_liquidations=False),
)  # fmt: skip

_OLD_TRADES = 50
_MOST = 150
_ID_SPACE = 4_611_686_018_000_000_000
_INVALID = 10004


class _Parameters(msgspec.Struct):
    channels: list[str] = []


class _Message(msgspec.Struct):
    method: str
    id: int = 0
    params: _Parameters = msgspec.field(default_factory=_Parameters)


class Cryptocom(Venue):
    """Heartbeats must be answered; the first frame of a channel is history, newest first."""

    name = "CRYPTOCOM"
    instruments = INSTRUMENTS
    beat_s = 30.0
    beats_missed = 1

    def routes(self) -> list[web.RouteDef]:
        root = "/api.crypto.com/exchange/v1/public"
        return [
            web.get("/stream.crypto.com/exchange/v1/market", self.socket),
            rest(f"{root}/get-instruments", self._instruments),
            rest(f"{root}/get-trades", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"cryptocom/trade.{instrument.native}"

    def beat(self, client: Client) -> str:
        return encode({"id": self.market.clock(), "method": "public/heartbeat", "code": 0})

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode({"id": -1, "code": 40003, "message": "Invalid request"}))
            return
        if message.method == "public/respond-heartbeat":
            client.unanswered = 0
            return
        if message.method not in ("subscribe", "unsubscribe"):
            client.send(encode({"id": message.id, "code": 40001, "message": "Unknown method"}))
            return
        found = {name: self._find(name.partition(".")[2]) for name in message.params.channels}
        for name, instrument in found.items():
            if instrument is None or not name.startswith("trade."):
                client.send(encode(_refusal(message, name)))
                return
        # The confirmation of a channel comes with its first frame.
        for instrument in found.values():
            if instrument:
                self._apply(client, message, instrument)

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [_frame(-1, trades[0].instrument, trades)])

    def _apply(self, client: Client, message: _Message, instrument: Instrument) -> None:
        if message.method == "unsubscribe":
            self.hub.unsubscribe(client, self.channel(instrument))
            client.send(encode({"id": message.id, "method": "unsubscribe", "code": 0}))
            return
        old = self.market.before(instrument.market, self.market.clock() + 1, _OLD_TRADES)
        client.send(_frame(message.id, instrument, old))
        self.hub.subscribe(client, self.channel(instrument))

    def _instruments(self, _: Mapping[str, str]) -> dict[str, Any]:
        rows = [_info(i) for i in self.instruments]
        return _ok("public/get-instruments", {"data": rows})

    def _trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The newest of [start_ts, end_ts), newest first; at most 150."""
        instrument = self._find(parameters.get("instrument_name", ""))
        if instrument is None:
            raise BadRequest(400, {"id": -1, "code": _INVALID, "message": "Invalid instrument"})
        count = min(_MOST, whole(parameters, "count", 25))
        end = whole(parameters, "end_ts", self.market.clock() + 1)
        start = whole(parameters, "start_ts", 0)
        found = self.market.before(instrument.market, end, count)
        rows = [_row(trade) for trade in reversed(found) if trade.ts_ms >= start]
        return _ok("public/get-trades", {"data": rows})

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _ok(method: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"id": -1, "method": method, "code": 0, "result": result}


def _refusal(message: _Message, name: str) -> dict[str, Any]:
    text = f"invalid channel {encode({'channels': [name]})}"
    return {"id": message.id, "code": _INVALID, "method": "subscribe", "message": text}


def _frame(number: int, instrument: Instrument, trades: Sequence[Trade]) -> str:
    result = {
        "instrument_name": instrument.native, "subscription": f"trade.{instrument.native}",
        "channel": "trade", "data": [_row(trade) for trade in reversed(trades)],
    }  # fmt: skip
    return encode({"id": number, "method": "subscribe", "code": 0, "result": result})


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "d": str(_ID_SPACE + trade.id), "t": trade.ts_ms, "tn": trade.ts_ms * 1_000_000,
        "q": trade.size, "p": trade.price, "s": "BUY" if trade.buy else "SELL",
        "i": trade.instrument.native, "m": str(trade.id),
    }  # fmt: skip


def _info(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.native,
        "inst_type": "CCY_PAIR" if instrument.kind == "spot" else "PERPETUAL_SWAP",
        "display_name": instrument.native, "base_ccy": instrument.base,
        "quote_ccy": instrument.quote, "quote_decimals": instrument.price_decimals,
        "price_tick_size": instrument.tick, "qty_tick_size": instrument.step,
        "contract_size": "1", "tradable": True, "expiry_timestamp_ms": 0,
    }  # fmt: skip
