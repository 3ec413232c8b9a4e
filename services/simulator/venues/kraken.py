"""Kraken, spot and futures. https://docs.kraken.com/api/docs/websocket-v2/trade/"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import Venue, encode, iso_time, rest, whole

INSTRUMENTS = (
    Instrument("KRAKEN:XBT/USD", "BTC", "USD", "spot", "BTC/USD", 1, 8, 0.08, 3.0, 0.4,
               quiet=0.1, apart=True),
    Instrument("KRAKEN:ETH/USD", "ETH", "USD", "spot", "ETH/USD", 2, 8, 0.08, 2.5, 0.4,
               quiet=0.15, apart=True),
    Instrument("KRAKEN:PF_XBTUSD", "BTC", "USD", "perp", "PF_XBTUSD", 0, 4, 0.05, 3.0, 0.3,
               quiet=0.1, apart=True),
    Instrument("KRAKEN:PI_XBTUSD", "BTC", "USD", "perp", "PI_XBTUSD", 1, 0, 0.02, 1.5, 0.3,
               quiet=0.3, apart=True, inverse_usd=1),
)  # fmt: skip

_SPOT, _FUTURES = "/ws.kraken.com/v2", "/futures.kraken.com/ws/v1"
_MOST = 1000
_HISTORY = 100
_ID_SPACE = uuid.UUID("3f1f1f0e-53f0-4b0e-8c71-6d0d4f9b1c52")


class _Parameters(msgspec.Struct):
    channel: str = ""
    symbol: list[str] = []
    snapshot: bool = True


class _SpotMessage(msgspec.Struct):
    method: str
    params: _Parameters = msgspec.field(default_factory=_Parameters)


class _FuturesMessage(msgspec.Struct):
    event: str
    feed: str = ""
    product_ids: list[str] = []


class Kraken(Venue):
    """Two protocols under one name; a forced order of the futures is a type of trade."""

    name = "KRAKEN"
    instruments = INSTRUMENTS
    silence_s = 60.0

    def routes(self) -> list[web.RouteDef]:
        spot, futures = "/api.kraken.com/0/public", "/futures.kraken.com/derivatives/api/v3"
        return [
            web.get(_SPOT, self.socket),
            web.get(_FUTURES, self.socket),
            rest(f"{spot}/AssetPairs", self._pairs),
            rest(f"{spot}/Trades", self._trades),
            rest(f"{futures}/instruments", self._contracts),
            rest(f"{futures}/history", self._history),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"kraken/trade/{instrument.native}"

    def greet(self, client: Client, request: web.Request) -> None:
        if request.path == _FUTURES:
            client.send(encode({"event": "info", "version": 1}))
        else:
            data = [{"version": "2.0.9", "system": "online", "api_version": "v2"}]
            client.send(encode({"channel": "status", "type": "update", "data": data}))

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            if path == _FUTURES:
                self._futures(client, msgspec.json.decode(text, type=_FuturesMessage))
            else:
                self._spot(client, msgspec.json.decode(text, type=_SpotMessage))
        except msgspec.DecodeError:
            client.send(encode({"event": "error", "message": "Json Error"}))

    def publish(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        channel = self.channel(instrument)
        if not self.hub.heard(channel):
            return
        if instrument.kind == "spot":
            self.hub.publish(channel, [_spot_frame("update", trades)])
        else:
            self.hub.publish(channel, [encode(_fill(trade)) for trade in trades])

    def _spot(self, client: Client, message: _SpotMessage) -> None:
        if message.method == "ping":
            client.send(encode({"method": "pong"}))
            return
        for symbol in message.params.symbol:
            instrument = self._find(symbol, "spot")
            answer: dict[str, Any] = {"method": message.method, "success": instrument is not None}
            if instrument is None:
                answer |= {"error": f"Currency pair not supported {symbol}", "symbol": symbol}
            else:
                answer["result"] = {"channel": "trade", "symbol": symbol}
            client.send(encode(answer))
            if instrument and message.method == "subscribe":
                if message.params.snapshot:
                    client.send(_spot_frame("snapshot", self._newest(instrument, 50)))
                self.hub.subscribe(client, self.channel(instrument))
            elif instrument:
                self.hub.unsubscribe(client, self.channel(instrument))

    def _futures(self, client: Client, message: _FuturesMessage) -> None:
        for product in message.product_ids:
            instrument = self._find(product.upper(), "perp")
            if instrument is None or message.feed != "trade":
                client.send(encode({"event": "error", "message": "Invalid product id"}))
                continue
            answer = {"event": f"{message.event}d", "feed": "trade", "product_ids": [product]}
            client.send(encode(answer))
            if message.event == "subscribe":
                newest = self._newest(instrument, _HISTORY)
                client.send(encode({
                    "feed": "trade_snapshot", "product_id": product,
                    "trades": [_fill(trade) for trade in reversed(newest)],
                }))  # fmt: skip
                self.hub.subscribe(client, self.channel(instrument))
            else:
                self.hub.unsubscribe(client, self.channel(instrument))

    def _pairs(self, _: Mapping[str, str]) -> dict[str, Any]:
        spot = [i for i in self.instruments if i.kind == "spot"]
        return {"error": [], "result": {_altname(i): _pair(i) for i in spot}}

    def _trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What came after `since`, nanoseconds, oldest first; at most 1000."""
        pair = parameters.get("pair", "")
        found = [i for i in self.instruments if i.kind == "spot" and _altname(i) == pair]
        if not found:
            return {"error": ["EQuery:Unknown asset pair"]}
        since_ns = whole(parameters, "since", 0)
        count = min(_MOST, whole(parameters, "count", _MOST))
        now = self.market.clock()
        # Of the first millisecond some may have been told already.
        later = self.market.since(found[0].market, since_ns // 1_000_000, now, 2 * count)
        trades = [trade for trade in later if _nanoseconds(trade) > since_ns][:count]
        last = _nanoseconds(trades[-1]) if trades else since_ns
        return {"error": [], "result": {pair: [_row(t) for t in trades], "last": str(last)}}

    def _contracts(self, _: Mapping[str, str]) -> dict[str, Any]:
        rows = [_contract(i) for i in self.instruments if i.kind == "perp"]
        return {"result": "success", "instruments": rows}

    def _history(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The hundred before `lastTime`, newest first."""
        instrument = self._find(parameters.get("symbol", "").upper(), "perp")
        if instrument is None:
            return {"result": "error", "error": "invalidArgument: symbol"}
        now = self.market.clock()
        text = parameters.get("lastTime", "")
        before_ms = round(datetime.fromisoformat(text).timestamp() * 1000) if text else now + 1
        trades = self.market.before(instrument.market, before_ms, _HISTORY)
        rows = [_past(t, number) for number, t in enumerate(reversed(trades), start=1)]
        return {"result": "success", "history": rows, "serverTime": iso_time(now)}

    def _newest(self, instrument: Instrument, limit: int) -> list[Trade]:
        return self.market.before(instrument.market, self.market.clock() + 1, limit)

    def _find(self, name: str, kind: str) -> Instrument | None:
        return next((i for i in self.instruments if (i.native, i.kind) == (name, kind)), None)


def _altname(instrument: Instrument) -> str:
    return instrument.market.partition(":")[2].replace("/", "")


def _pair(instrument: Instrument) -> dict[str, Any]:
    name = instrument.market.partition(":")[2]
    return {
        "altname": _altname(instrument), "wsname": name, "base": f"X{name.partition('/')[0]}",
        "quote": f"Z{instrument.quote}", "pair_decimals": instrument.price_decimals,
        "lot_decimals": instrument.size_decimals, "status": "online",
    }  # fmt: skip


def _contract(instrument: Instrument) -> dict[str, Any]:
    inverse = bool(instrument.inverse_usd)
    return {
        "symbol": instrument.native, "type": "futures_inverse" if inverse else "flexible_futures",
        "tickSize": float(instrument.tick), "contractSize": instrument.inverse_usd or 1,
        "tradeable": True, "base": instrument.base, "quote": instrument.quote,
        "pair": f"{instrument.base}:{instrument.quote}",
    }  # fmt: skip


def _spot_frame(kind: str, trades: Sequence[Trade]) -> str:
    return encode({"channel": "trade", "type": kind, "data": [_update(t) for t in trades]})


def _update(trade: Trade) -> dict[str, Any]:
    return {
        "symbol": trade.instrument.native, "side": "buy" if trade.buy else "sell",
        "price": float(trade.price), "qty": float(trade.size), "ord_type": "market",
        "trade_id": trade.id, "timestamp": iso_time(trade.ts_ms, trade.id % 1000),
    }  # fmt: skip


def _nanoseconds(trade: Trade) -> int:
    return trade.ts_ms * 1_000_000 + trade.id % 1000 * 1000


def _row(trade: Trade) -> list[Any]:
    second, rest_ns = divmod(_nanoseconds(trade), 1_000_000_000)
    time = msgspec.Raw(f"{second}.{rest_ns // 1000:06d}".encode())
    return [trade.price, trade.size, time, "b" if trade.buy else "s", "m", "", trade.id]


def _uid(trade: Trade) -> str:
    return str(uuid.uuid5(_ID_SPACE, f"{trade.instrument.market}/{trade.id}"))


def _fill(trade: Trade) -> dict[str, Any]:
    return {
        "feed": "trade", "product_id": trade.instrument.native, "uid": _uid(trade),
        "side": "buy" if trade.buy else "sell",
        "type": "liquidation" if trade.liquidation else "fill", "seq": trade.id,
        "time": trade.ts_ms, "qty": float(trade.size), "price": float(trade.price),
    }  # fmt: skip


def _past(trade: Trade, number: int) -> dict[str, Any]:
    return {
        "time": iso_time(trade.ts_ms), "trade_id": _HISTORY + 1 - number,
        "price": float(trade.price), "size": float(trade.size),
        "side": "buy" if trade.buy else "sell",
        "type": "liquidation" if trade.liquidation else "fill", "uid": _uid(trade),
    }  # fmt: skip
