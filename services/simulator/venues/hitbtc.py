"""HitBTC v3, spot and perpetuals. https://api.hitbtc.com/#subscribe-to-trades"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, iso_time, rest, whole

INSTRUMENTS = (
    Instrument("HITBTC:BTCUSDT", "BTC", "USDT", "spot", "BTCUSDT", 2, 5, 0.04, 2.0, 0.4,
               quiet=0.2, apart=True),
    Instrument("HITBTC:ETHUSDT_PERP", "ETH", "USDT", "perp", "ETHUSDT_PERP", 2, 4, 0.03, 2.5, 0.3,
               quiet=0.2, apart=True, tells_liquidations=False),
)  # fmt: skip

_OLD_TRADES = 10
_UNKNOWN = {"code": 2001, "message": "No such symbol", "description": ""}


class _Parameters(msgspec.Struct):
    symbols: list[str] = []
    limit: int = _OLD_TRADES


class _Message(msgspec.Struct):
    method: str
    ch: str = ""
    params: _Parameters = msgspec.field(default_factory=_Parameters)
    id: int | str | None = None


class Hitbtc(Venue):
    """A subscription is answered with old trades, unless they are declined."""

    name = "HITBTC"
    instruments = INSTRUMENTS
    ping_interval_s = 30.0

    def routes(self) -> list[web.RouteDef]:
        root = "/api.hitbtc.com/api/3"
        return [
            web.get(f"{root}/ws/public", self.socket),
            rest(f"{root}/public/symbol", self._symbols),
            rest(f"{root}/public/trades/{{symbol}}", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"hitbtc/trades/{instrument.native}"

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            error = {"code": 20001, "message": "Validation error"}
            client.send(encode({"jsonrpc": "2.0", "error": error, "id": None}))
            return
        if message.ch != "trades" or message.method not in ("subscribe", "unsubscribe"):
            error = {"code": 20003, "message": "Unknown channel or method"}
            client.send(encode({"jsonrpc": "2.0", "error": error, "id": message.id}))
            return
        found = [i for name in message.params.symbols if (i := self._find(name))]
        if len(found) < len(message.params.symbols):
            missing = set(message.params.symbols) - {i.native for i in found}
            error = {**_UNKNOWN, "message": f"No such symbol: {min(missing)}"}
            client.send(encode({"jsonrpc": "2.0", "error": error, "id": message.id}))
            return
        names = [i.native for i in found]
        result = {"ch": "trades", "subscriptions": names}
        client.send(encode({"result": result, "id": message.id}))
        for instrument in found:
            self._apply(client, message, instrument)

    def publish(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        if self.hub.heard(self.channel(instrument)):
            self.hub.publish(self.channel(instrument), [_frame("update", trades)])

    def _apply(self, client: Client, message: _Message, instrument: Instrument) -> None:
        if message.method == "unsubscribe":
            self.hub.unsubscribe(client, self.channel(instrument))
            return
        limit = message.params.limit
        now = self.market.clock() + 1
        if limit and (old := self.market.before(instrument.market, now, limit)):
            client.send(_frame("snapshot", old))
        self.hub.subscribe(client, self.channel(instrument))

    def _symbols(self, _: Mapping[str, str]) -> dict[str, Any]:
        return {i.native: _info(i) for i in self.instruments}

    def _trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """From `from` to `till`, both inclusive, by time or by id; at most 1000."""
        instrument = self._find(parameters["symbol"])
        if instrument is None:
            raise BadRequest(404, {"error": _UNKNOWN})
        limit = min(1000, whole(parameters, "limit", 10))
        name, now = instrument.market, self.market.clock()
        if parameters.get("by") == "id":
            found = self.market.from_id(name, whole(parameters, "from", 0), limit)
        elif parameters.get("sort", "DESC") == "ASC":
            start, end = whole(parameters, "from", 0), whole(parameters, "till", now)
            found = self.market.since(name, start, end, limit)
        else:
            found = self.market.before(name, whole(parameters, "till", now) + 1, limit)[::-1]
        return [_row(trade) for trade in found]

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _frame(kind: str, trades: Sequence[Trade]) -> str:
    rows = [
        {"t": t.ts_ms, "i": t.id, "p": t.price, "q": t.size, "s": "buy" if t.buy else "sell"}
        for t in trades
    ]
    return encode({"ch": "trades", kind: {trades[0].instrument.native: rows}})


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id, "price": trade.price, "qty": trade.size,
        "side": "buy" if trade.buy else "sell", "timestamp": iso_time(trade.ts_ms),
    }  # fmt: skip


def _info(instrument: Instrument) -> dict[str, Any]:
    spot = instrument.kind == "spot"
    row = {
        "type": "spot" if spot else "futures", "base_currency": instrument.base if spot else None,
        "quote_currency": instrument.quote, "status": "working",
        "quantity_increment": instrument.step, "tick_size": instrument.tick,
    }  # fmt: skip
    return row if spot else row | {"underlying": instrument.base, "expiry": None}
