"""OKX, spot and swap. https://www.okx.com/docs-v5/en/#order-book-trading-market-data"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade, fixed
from services.simulator.market import FIRST_ID
from services.simulator.venues.base import Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("OKEX:BTC-USDT", "BTC", "USDT", "spot", "BTC-USDT", 1, 8, 0.15, 6.0, -0.9,
               quiet=0.05),
    Instrument("OKEX:ETH-USDT", "ETH", "USDT", "spot", "ETH-USDT", 2, 6, 0.15, 5.0, -0.9,
               quiet=0.08),
    Instrument("OKEX:BTC-USDT-SWAP", "BTC", "USDT", "perp", "BTC-USDT-SWAP", 1, 2, 0.25, 9.0, 0.1,
               contract_decimals=2, oi_share=0.25, oi_factor=100.0, oi_unit="contracts"),
    Instrument("OKEX:ETH-USDT-SWAP", "ETH", "USDT", "perp", "ETH-USDT-SWAP", 2, 2, 0.25, 8.0, 0.1,
               contract_decimals=1, oi_share=0.25, oi_factor=10.0, oi_unit="contracts"),
)  # fmt: skip

_LIQUIDATIONS = "liquidation-orders"
_OLD_TRADE_MS = 25_000


class _Arg(msgspec.Struct, omit_defaults=True):
    channel: str
    instId: str = ""
    instType: str = ""
    instFamily: str = ""


class _Message(msgspec.Struct):
    op: str
    args: list[_Arg] = []


class Okex(Venue):
    """Spot in coins, swaps in contracts."""

    name = "OKEX"
    instruments = INSTRUMENTS
    silence_s: ClassVar[float | None] = 30.0

    def routes(self) -> list[web.RouteDef]:
        root = "/www.okx.com/api/v5"
        return [
            web.get("/ws.okx.com/ws/v5/public", self.socket),
            rest(f"{root}/public/time", lambda _: _ok([{"ts": str(self.market.clock())}])),
            rest(f"{root}/public/instruments", self._instruments),
            rest(f"{root}/public/open-interest", self._open_interest),
            rest(f"{root}/public/liquidation-orders", self._liquidations),
            rest(f"{root}/market/trades", self._recent_trades),
            rest(f"{root}/market/history-trades", self._history_trades),
            rest(f"{root}/market/tickers", self._tickers),
            rest(f"{root}/market/ticker", self._tickers),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"okex/trades/{instrument.native}"

    def message(self, client: Client, path: str, text: str) -> None:
        if text == "ping":
            client.send("pong")
            return
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode(_error(client, "60012", f"Invalid request: {text[:200]}")))
            return
        if message.op not in ("subscribe", "unsubscribe"):
            client.send(encode(_error(client, "60012", f"Invalid request: {text[:200]}")))
            return
        for arg in message.args:
            self._subscribe(client, message.op, arg)

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [_trade_frame(trade) for trade in trades])

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        frames = [_liquidation_frame(trade) for trade in trades]
        self.hub.publish(f"okex/{_LIQUIDATIONS}/SWAP", frames)

    def _subscribe(self, client: Client, op: str, arg: _Arg) -> None:
        instrument = self._find(arg.instId)
        if arg.channel == "trades" and instrument:
            channel = self.channel(instrument)
        elif arg.channel == _LIQUIDATIONS and arg.instType in ("SWAP", "FUTURES"):
            channel, instrument = f"okex/{_LIQUIDATIONS}/{arg.instType}", None
        else:
            named = f"instId:{arg.instId}" if arg.instId else f"instType:{arg.instType}"
            reason = (
                f"Wrong URL or channel:{arg.channel},{named} doesn't exist. Please use the correct "
                "URL, channel and parameters referring to API document."
            )
            client.send(encode(_error(client, "60018", reason)))
            return
        client.send(encode({"event": op, "arg": arg, "connId": _connection(client)}))
        if op == "unsubscribe":
            self.hub.unsubscribe(client, channel)
            return
        if instrument:
            client.send(_trade_frame(self._previous(instrument)))
        self.hub.subscribe(client, channel)

    def _previous(self, instrument: Instrument) -> Trade:
        """The trade before the subscription, which the venue pushes first."""
        found = self.market.before(instrument.market, self.market.clock() + 1, 1)
        if found:
            return found[0]
        ticks = round(self.market.last_price(instrument) * 10**instrument.price_decimals)
        old_ms = self.market.clock() - _OLD_TRADE_MS
        return Trade(instrument, FIRST_ID - 1, old_ms, True, ticks, 10**instrument.size_decimals)

    def _instruments(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        wanted = parameters.get("instType", "")
        if wanted not in ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"):
            return {"code": "51000", "data": [], "msg": "Parameter instType error"}
        return _ok([_info(i) for i in self.instruments if _type(i) == wanted])

    def _open_interest(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        rows = []
        for i in self.instruments:
            if i.kind != "perp" or parameters.get("instId") not in (None, i.native):
                continue
            coins, price = self.market.open_interest(i), self.market.last_price(i)
            rows.append({
                "instId": i.native, "instType": "SWAP",
                "oi": f"{coins * i.oi_factor:.2f}", "oiCcy": f"{coins:.4f}",
                "oiUsd": f"{coins * price:.2f}", "ts": str(self.market.clock()),
            })  # fmt: skip
        return _ok(rows) if rows else _unknown()

    def _liquidations(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        now = self.market.clock()
        after = whole(parameters, "after", now + 1)
        found = []
        for i in self.instruments:
            if i.kind == "perp" and i.native.startswith(parameters.get("uly", "")):
                recent = self.market.since(i.market, after - 3_600_000, after - 1, 1 << 20)
                found.append({
                    "instId": i.native, "instType": "SWAP", "totalLoss": "0",
                    "uly": f"{i.base}-{i.quote}", "instFamily": f"{i.base}-{i.quote}",
                    "details": [_liquidation(t) for t in reversed(recent) if t.liquidation][:100],
                })  # fmt: skip
        return _ok(found)

    def _recent_trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        instrument = self._find(parameters.get("instId", ""))
        if not instrument:
            return _unknown()
        limit = min(500, whole(parameters, "limit", 100))
        found = self.market.before(instrument.market, self.market.clock() + 1, limit)
        return _ok([_row(trade) for trade in reversed(found)])

    def _history_trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Newest first; `after` is exclusive, a trade id (type 1) or a time (type 2)."""
        instrument = self._find(parameters.get("instId", ""))
        if not instrument:
            return _unknown()
        limit = min(100, whole(parameters, "limit", 100))
        after = whole(parameters, "after", 0)
        if after and parameters.get("type", "1") == "1":
            found = self.market.before_id(instrument.market, after, limit)
        else:
            before = after or self.market.clock() + 1
            found = self.market.before(instrument.market, before, limit)
        return _ok([_row(trade) for trade in reversed(found)])

    def _tickers(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        kind, name = parameters.get("instType"), parameters.get("instId")
        rows = [
            {
                "instType": _type(i), "instId": i.native, "ts": str(self.market.clock()),
                "last": f"{self.market.last_price(i):.{i.price_decimals}f}",
            }
            for i in self.instruments
            if kind in (None, _type(i)) and name in (None, i.native)
        ]  # fmt: skip
        return _ok(rows) if rows else _unknown()

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _ok(data: list[Any]) -> dict[str, Any]:
    return {"code": "0", "data": data, "msg": ""}


def _unknown() -> dict[str, Any]:
    return {"code": "51001", "data": [], "msg": "Instrument ID does not exist"}


def _error(client: Client, code: str, reason: str) -> dict[str, Any]:
    return {"event": "error", "code": code, "msg": reason, "connId": _connection(client)}


def _connection(client: Client) -> str:
    return f"{id(client) & 0xFFFFFFFF:08x}"


def _type(instrument: Instrument) -> str:
    return "SPOT" if instrument.kind == "spot" else "SWAP"


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "instId": trade.instrument.native, "tradeId": str(trade.id), "px": trade.price,
        "sz": trade.size, "side": "buy" if trade.buy else "sell", "ts": str(trade.ts_ms),
    }  # fmt: skip


def _trade_frame(trade: Trade) -> str:
    arg = {"channel": "trades", "instId": trade.instrument.native}
    return encode({"arg": arg, "data": [_row(trade) | {"count": "1", "seqId": trade.id}]})


def _liquidation(trade: Trade) -> dict[str, Any]:
    return {
        "bkLoss": "0", "bkPx": trade.price, "ccy": "", "sz": trade.size, "ts": str(trade.ts_ms),
        "posSide": "short" if trade.buy else "long", "side": "buy" if trade.buy else "sell",
    }  # fmt: skip


def _liquidation_frame(trade: Trade) -> str:
    family = f"{trade.instrument.base}-{trade.instrument.quote}"
    return encode({
        "arg": {"channel": _LIQUIDATIONS, "instType": "SWAP"},
        "data": [{
            "details": [_liquidation(trade)], "instFamily": family,
            "instId": trade.instrument.native, "instType": "SWAP", "uly": family,
        }],
    })  # fmt: skip


def _info(instrument: Instrument) -> dict[str, Any]:
    perp = instrument.kind == "perp"
    family = f"{instrument.base}-{instrument.quote}"
    return {
        "instType": _type(instrument), "instId": instrument.native, "alias": "", "category": "1",
        "baseCcy": "" if perp else instrument.base, "quoteCcy": "" if perp else instrument.quote,
        "settleCcy": instrument.quote if perp else "", "uly": family if perp else "",
        "instFamily": family if perp else "", "ctType": "linear" if perp else "",
        "ctVal": fixed(1, instrument.contract_decimals) if perp else "",
        "ctMult": "1" if perp else "", "ctValCcy": instrument.base if perp else "",
        "tickSz": instrument.tick, "lotSz": instrument.step, "minSz": instrument.step,
        "state": "live", "expTime": "", "listTime": "1548133413000", "lever": "100", "optType": "",
        "stk": "",
    }  # fmt: skip
