"""Bybit v5, spot and linear. https://bybit-exchange.github.io/docs/v5/websocket/public/trade"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument(
        "BYBIT:BTCUSDT-SPOT", "BTC", "USDT", "spot", "BTCUSDT", 1, 6, 0.15, 6.0, -1.0, quiet=0.05
    ),
    Instrument(
        "BYBIT:ETHUSDT-SPOT", "ETH", "USDT", "spot", "ETHUSDT", 2, 5, 0.15, 5.0, -1.0, quiet=0.08
    ),
    Instrument(
        "BYBIT:BTCUSDT",
        "BTC",
        "USDT",
        "perp",
        "BTCUSDT",
        1,
        3,
        0.25,
        10.0,
        0.2,
        oi_share=0.30,
        oi_factor=2.0,
    ),
    Instrument(
        "BYBIT:ETHUSDT",
        "ETH",
        "USDT",
        "perp",
        "ETHUSDT",
        2,
        2,
        0.25,
        9.0,
        0.2,
        oi_share=0.30,
        oi_factor=2.0,
    ),
)

_HOST = "/stream.bybit.com"
_MAX_SPOT_ARGS = 10
_OPEN_INTEREST_STEPS = {"5min": 300, "15min": 900, "30min": 1800, "1h": 3600, "4h": 14400}
_ID_SPACE = uuid.UUID("7d6f2c1e-0b0e-4a35-9a61-2f1f6a1c9b10")


class _Message(msgspec.Struct):
    op: str
    args: list[str] = []
    req_id: str = ""


class Bybit(Venue):
    """Spot and linear perpetuals; both call a pair by the same symbol."""

    name = "BYBIT"
    instruments = INSTRUMENTS
    silence_s: ClassVar[float | None] = 600.0

    def routes(self) -> list[web.RouteDef]:
        root = "/api.bybit.com/v5/market"
        return [
            web.get(f"{_HOST}/v5/public/spot", self.socket),
            web.get(f"{_HOST}/v5/public/linear", self.socket),
            rest(f"{root}/time", self._time),
            rest(f"{root}/instruments-info", self._instruments_info),
            rest(f"{root}/recent-trade", self._recent_trades),
            rest(f"{root}/tickers", self._tickers),
            rest(f"{root}/open-interest", self._open_interest),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"{_category(instrument)}/publicTrade.{instrument.native}"

    def message(self, client: Client, path: str, text: str) -> None:
        category = path.rpartition("/")[2]
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode(_answer(client, "", "", success=False, text="error:parse error")))
            return
        if message.op == "ping":
            client.send(encode(_answer(client, "ping", message.req_id, success=True, text="pong")))
            return
        refused = self._refusal(category, message)
        if not refused:
            act = self.hub.subscribe if message.op == "subscribe" else self.hub.unsubscribe
            for topic in message.args:
                act(client, f"{category}/{topic}")
        answer = _answer(client, message.op, message.req_id, success=not refused, text=refused)
        client.send(encode(answer))

    def publish(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        now = self.market.clock()
        if self.hub.heard(self.channel(instrument)):
            self.hub.publish(
                self.channel(instrument),
                [_frame("publicTrade", instrument, now, [_row(trade) for trade in trades])],
            )

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        rows = [_forced(trade) for trade in trades]
        self.hub.publish(
            f"linear/allLiquidation.{instrument.native}",
            [_frame("allLiquidation", instrument, self.market.clock(), rows)],
        )

    def _refusal(self, category: str, message: _Message) -> str:
        """One bad topic spoils the whole request."""
        if message.op not in ("subscribe", "unsubscribe"):
            return f"error:unknown op {message.op}"
        if category == "spot" and len(message.args) > _MAX_SPOT_ARGS:
            return f"args size >{_MAX_SPOT_ARGS}"
        known = {i.native for i in self.instruments if _category(i) == category}
        kinds = ("publicTrade",) if category == "spot" else ("publicTrade", "allLiquidation")
        for topic in message.args:
            kind, _, symbol = topic.partition(".")
            if kind not in kinds or symbol not in known:
                if category == "spot":
                    return f"Invalid symbol :[{topic}]"
                return f"error:handler not found,topic:{topic}"
        return ""

    def _time(self, _: Mapping[str, str]) -> dict[str, Any]:
        now = self.market.clock()
        return self._ok({"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)})

    def _instruments_info(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        category = parameters.get("category", "")
        if category not in ("spot", "linear", "inverse", "option"):
            return self._refused("Illegal category")
        rows = [_info(i) for i in self._selected(parameters)]
        return self._ok({"category": category, "list": rows, "nextPageCursor": ""})

    def _recent_trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        category = parameters.get("category", "")
        found = self._selected(parameters)
        if len(found) != 1:
            return self._refused("Not supported symbols")
        most = 60 if category == "spot" else 1000
        limit = min(most, whole(parameters, "limit", 500))
        trades = self.market.before(found[0].market, self.market.clock() + 1, limit)
        rows = [
            {
                "execId": _trade_id(t), "symbol": t.instrument.native, "price": t.price,
                "size": t.size, "side": "Buy" if t.buy else "Sell", "time": str(t.ts_ms),
                "isBlockTrade": False, "isRPITrade": False, "seq": str(t.id),
            }
            for t in reversed(trades)
        ]  # fmt: skip
        return self._ok({"category": category, "list": rows})

    def _tickers(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        if "symbol" in parameters and not self._selected(parameters):
            return self._refused("Not supported symbols")
        rows = [self._ticker(i) for i in self._selected(parameters)]
        return self._ok({"category": parameters.get("category", ""), "list": rows})

    def _ticker(self, instrument: Instrument) -> dict[str, Any]:
        price = self.market.last_price(instrument)
        row = {
            "symbol": instrument.native,
            "lastPrice": f"{price:.{instrument.price_decimals}f}",
        }
        if instrument.kind == "perp":
            coins = self.market.open_interest(instrument)
            row |= {
                "markPrice": row["lastPrice"],
                "indexPrice": row["lastPrice"],
                "openInterest": f"{2 * coins:.3f}",
                "openInterestValue": f"{2 * coins * price:.2f}",
                "singleOpenInterest": f"{coins:.3f}",
                "singleOpenInterestValue": f"{coins * price:.2f}",
                "fundingRate": "0.0001",
            }
        return row

    def _open_interest(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        found = self._selected(parameters)
        step = _OPEN_INTEREST_STEPS.get(parameters.get("intervalTime", ""))
        if len(found) != 1 or found[0].kind != "perp":
            return self._refused("Not supported symbols")
        if step is None:
            return self._refused("Illegal intervalTime")
        # One step may be four hours; the path reaches a day back.
        limit = min(200, whole(parameters, "limit", 50), 86_400 // step)
        last = self.market.clock() // 1000 // step * step
        rows = []
        for number in range(limit):
            at = last - number * step
            coins = self.market.open_interest(found[0], at)
            rows.append({
                "openInterest": f"{2 * coins:.3f}", "singleOpenInterest": f"{coins:.3f}",
                "timestamp": str(at * 1000),
            })  # fmt: skip
        return self._ok({
            "symbol": found[0].native, "category": parameters.get("category", ""), "list": rows,
            "nextPageCursor": "",
        })  # fmt: skip

    def _selected(self, parameters: Mapping[str, str]) -> list[Instrument]:
        symbol = parameters.get("symbol")
        return [
            i
            for i in self.instruments
            if _category(i) == parameters.get("category") and symbol in (None, i.native)
        ]

    def _ok(self, result: dict[str, Any]) -> dict[str, Any]:
        return {
            "retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {},
            "time": self.market.clock(),
        }  # fmt: skip

    def _refused(self, reason: str) -> dict[str, Any]:
        return {
            "retCode": 10001, "retMsg": f"params error: {reason}", "result": {}, "retExtInfo": {},
            "time": self.market.clock(),
        }  # fmt: skip


def _category(instrument: Instrument) -> str:
    return "spot" if instrument.kind == "spot" else "linear"


def _answer(client: Client, op: str, req_id: str, *, success: bool, text: str) -> dict[str, Any]:
    return {
        "success": success, "ret_msg": text, "conn_id": f"{id(client):032x}", "req_id": req_id,
        "op": op,
    }  # fmt: skip


def _frame(kind: str, instrument: Instrument, now: int, rows: list[dict[str, Any]]) -> str:
    topic = f"{kind}.{instrument.native}"
    return encode({"topic": topic, "type": "snapshot", "ts": now, "data": rows})


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "T": trade.ts_ms, "s": trade.instrument.native, "S": "Buy" if trade.buy else "Sell",
        "v": trade.size, "p": trade.price, "L": "ZeroPlusTick", "i": _trade_id(trade),
        "BT": False, "RPI": False, "seq": trade.id,
    }  # fmt: skip


def _forced(trade: Trade) -> dict[str, Any]:
    # S is the side of the position that was liquidated, the opposite of the forced order.
    return {
        "T": trade.ts_ms, "s": trade.instrument.native, "S": "Sell" if trade.buy else "Buy",
        "v": trade.size, "p": trade.price,
    }  # fmt: skip


def _trade_id(trade: Trade) -> str:
    """Spot numbers its trades, linear names them."""
    if trade.instrument.kind == "spot":
        return str(2_290_000_000_000_000_000 + trade.id)
    return str(uuid.uuid5(_ID_SPACE, f"{trade.instrument.market}/{trade.id}"))


def _info(instrument: Instrument) -> dict[str, Any]:
    common = {
        "symbol": instrument.native, "status": "Trading", "baseCoin": instrument.base,
        "quoteCoin": instrument.quote, "priceFilter": {"tickSize": instrument.tick},
    }  # fmt: skip
    if instrument.kind == "spot":
        return common | {
            "innovation": "0", "marginTrading": "none",
            "lotSizeFilter": {
                "basePrecision": instrument.step, "quotePrecision": "0.00000001",
                "minOrderQty": instrument.step, "maxOrderQty": "100", "minOrderAmt": "5",
            },
        }  # fmt: skip
    return common | {
        "contractType": "LinearPerpetual",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(instrument.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "lotSizeFilter": {
            "minOrderQty": instrument.step, "maxOrderQty": "1190.000", "qtyStep": instrument.step,
            "minNotionalValue": "5",
        },
        "settleCoin": instrument.quote,
        "fundingInterval": 480,
    }  # fmt: skip
