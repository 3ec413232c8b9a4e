"""HTX, once Huobi: spot, swaps. https://www.htx.com/en-us/opend/newApiPages/"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client, Frame
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("HUOBI:btcusdt", "BTC", "USDT", "spot", "btcusdt", 2, 6, 0.06, 3.0, -0.5,
               quiet=0.1, apart=True),
    Instrument("HUOBI:ethusdt", "ETH", "USDT", "spot", "ethusdt", 2, 4, 0.06, 2.5, -0.5,
               quiet=0.15, apart=True),
    Instrument("HUOBI:BTC-USDT", "BTC", "USDT", "perp", "BTC-USDT", 1, 0, 0.05, 4.0, 0.2,
               quiet=0.1, contract_decimals=3, apart=True),
    Instrument("HUOBI:BTC-USD", "BTC", "USD", "perp", "BTC-USD", 1, 0, 0.03, 1.5, 0.2,
               quiet=0.3, apart=True, inverse_usd=100),
)  # fmt: skip

_HOST = "/api.hbdm.com"
_NOTIFICATION = "-notification"
_FAST = 1
_MOST = 2000
_INVALID = {"status": "error", "err-code": "invalid-parameter", "err-msg": "invalid symbol"}


class _Message(msgspec.Struct):
    sub: str = ""
    unsub: str = ""
    id: str | int | None = None
    pong: int | None = None
    op: str = ""
    topic: str = ""
    cid: str = ""


class Huobi(Venue):
    """Every frame is gzip; heartbeats must be answered; contracts count both sides of a trade."""

    name = "HUOBI"
    instruments = INSTRUMENTS
    beat_s = 5.0
    beats_missed = 2

    def routes(self) -> list[web.RouteDef]:
        sockets = ("linear-swap-ws", "swap-ws", "linear-swap-notification", "swap-notification")
        return [
            web.get("/api.huobi.pro/ws", self.socket),
            *(web.get(f"{_HOST}/{name}", self.socket) for name in (*sockets, "ws")),
            rest("/api.huobi.pro/v1/settings/common/symbols", self._symbols),
            rest(f"{_HOST}/linear-swap-api/v1/swap_contract_info", self._linear),
            rest(f"{_HOST}/swap-api/v1/swap_contract_info", self._inverse),
            rest(f"{_HOST}/api/v1/contract_contract_info", lambda _: self._ok([])),
            rest("/api.huobi.pro/market/history/trade", self._history),
            rest(f"{_HOST}/linear-swap-ex/market/history/trade", self._history),
            rest(f"{_HOST}/swap-ex/market/history/trade", self._history),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"huobi/market.{instrument.native}.trade.detail"

    def pack(self, frame: str) -> Frame:
        return gzip.compress(frame.encode(), _FAST)

    def beat(self, client: Client) -> str:
        now = self.market.clock()
        if client.path.endswith(_NOTIFICATION):
            return encode({"op": "ping", "ts": str(now)})
        return encode({"ping": now})

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode(_INVALID | {"ts": self.market.clock()}))
            return
        if message.pong is not None or message.op == "pong":
            client.unanswered = 0
        elif path.endswith(_NOTIFICATION):
            self._notification(client, message)
        else:
            self._market_data(client, message)

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [self._frame(trades)])

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        topic = f"public.{trades[0].instrument.native}.liquidation_orders"
        frame = {
            "op": "notify", "topic": topic, "ts": self.market.clock(),
            "data": [_forced(trade) for trade in trades],
        }  # fmt: skip
        self.hub.publish(f"huobi/{topic}", [encode(frame)])

    def _market_data(self, client: Client, message: _Message) -> None:
        topic = message.sub or message.unsub
        answer = {"id": message.id, "ts": self.market.clock()}
        parts = topic.split(".")
        instrument = self._find(parts[1]) if len(parts) == 4 else None
        if instrument is None or not topic.endswith(".trade.detail"):
            client.send(encode(answer | {
                "status": "error", "err-code": "bad-request", "err-msg": f"invalid topic {topic}",
            }))  # fmt: skip
        elif message.sub:
            client.send(encode(answer | {"status": "ok", "subbed": topic}))
            newest = self.market.before(instrument.market, self.market.clock() + 1, 1)
            if newest:
                client.send(self._frame(newest))
            self.hub.subscribe(client, self.channel(instrument))
        else:
            client.send(encode(answer | {"status": "ok", "unsubbed": topic}))
            self.hub.unsubscribe(client, self.channel(instrument))

    def _notification(self, client: Client, message: _Message) -> None:
        parts = message.topic.split(".")
        known = len(parts) == 3 and parts[2] == "liquidation_orders" and self._find(parts[1])
        answer = {
            "op": message.op, "cid": message.cid, "topic": message.topic,
            "ts": self.market.clock(), "err-code": 0 if known else 2011,
        }  # fmt: skip
        client.send(encode(answer if known else answer | {"err-msg": "Topic is not supported"}))
        if known:
            act = self.hub.subscribe if message.op == "sub" else self.hub.unsubscribe
            act(client, f"huobi/{message.topic}")

    def _frame(self, trades: Sequence[Trade]) -> str:
        newest = trades[-1]
        channel = f"market.{newest.instrument.native}.trade.detail"
        tick = {"id": newest.id, "ts": newest.ts_ms, "data": [_row(trade) for trade in trades]}
        return encode({"ch": channel, "ts": self.market.clock(), "tick": tick})

    def _history(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The newest only, newest first; at most 2000."""
        name = parameters.get("symbol") or parameters.get("contract_code", "")
        instrument = self._find(name)
        if instrument is None:
            return _INVALID | {"ts": self.market.clock()}
        size = min(_MOST, whole(parameters, "size", 1))
        newest = self.market.before(instrument.market, self.market.clock() + 1, size)
        rows = [
            {"id": t.id, "ts": t.ts_ms, "data": [_row(t, "trade-id")]} for t in reversed(newest)
        ]
        return self._ok(rows) | {"ch": f"market.{name}.trade.detail"}

    def _symbols(self, _: Mapping[str, str]) -> dict[str, Any]:
        return self._ok([
            {
                "sc": i.native, "bc": i.base.lower(), "qc": i.quote.lower(), "state": "online",
                "dn": f"{i.base}/{i.quote}", "te": True,
            }
            for i in self.instruments
            if i.kind == "spot"
        ])  # fmt: skip

    def _linear(self, _: Mapping[str, str]) -> dict[str, Any]:
        found = (i for i in self.instruments if i.kind == "perp" and not i.inverse_usd)
        return self._ok([_contract(i, 10.0**-i.contract_decimals) for i in found])

    def _inverse(self, _: Mapping[str, str]) -> dict[str, Any]:
        found = (i for i in self.instruments if i.inverse_usd)
        return self._ok([_contract(i, float(i.inverse_usd)) for i in found])

    def _ok(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"status": "ok", "data": rows, "ts": self.market.clock()}

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _contract(instrument: Instrument, size: float) -> dict[str, Any]:
    return {
        "symbol": instrument.base, "contract_code": instrument.native, "contract_size": size,
        "price_tick": float(instrument.tick), "contract_status": 1, "contract_type": "swap",
        "business_type": "swap",
    }  # fmt: skip


def _row(trade: Trade, named: str = "tradeId") -> dict[str, Any]:
    row = {
        "ts": trade.ts_ms, "price": float(trade.price),
        "direction": "buy" if trade.buy else "sell",
    }  # fmt: skip
    if trade.instrument.kind == "spot":
        # The id of a spot trade is longer than 64 bits.
        long = msgspec.Raw(f"{trade.id}{trade.ts_ms}{trade.id:09d}".encode())
        return row | {"id": long, named: trade.id, "amount": float(trade.size)}
    return row | {
        "id": trade.id * 10_000, "amount": 2 * float(trade.size),
        "quantity": 2 * float(trade.size_base), "trade_turnover": 2 * float(trade.notional),
    }  # fmt: skip


def _forced(trade: Trade) -> dict[str, Any]:
    return {
        "contract_code": trade.instrument.native, "symbol": trade.instrument.base,
        "direction": "buy" if trade.buy else "sell", "offset": "close",
        "volume": float(trade.size), "price": float(trade.price), "created_at": trade.ts_ms,
        "amount": float(trade.size_base), "trade_turnover": float(trade.notional),
    }  # fmt: skip
