"""Bitget, spot and USDT perpetuals. https://www.bitget.com/api-doc/uta/websocket/intro"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("BITGET:BTCUSDT-SPOT", "BTC", "USDT", "spot", "BTCUSDT", 2, 6, 0.05, 3.0, -0.2,
               quiet=0.2, apart=True),
    Instrument("BITGET:BTCUSDT", "BTC", "USDT", "perp", "BTCUSDT", 1, 4, 0.08, 6.0, 0.2,
               quiet=0.1, apart=True),
)  # fmt: skip

_MOST = 1000
_HISTORY = 50
_FIRST_ID = 1_260_903_622_036_000_000
_OK = {"code": "00000", "msg": "success"}


class _Argument(msgspec.Struct, omit_defaults=True):
    instType: str = ""
    topic: str = ""
    symbol: str = ""


class _Message(msgspec.Struct):
    op: str
    args: list[_Argument] = []


class Bitget(Venue):
    """The first frame of a subscription holds old trades; a connection must be pinged."""

    name = "BITGET"
    instruments = INSTRUMENTS
    silence_s = 120.0

    def routes(self) -> list[web.RouteDef]:
        root = "/api.bitget.com/api"
        return [
            web.get("/ws.bitget.com/v3/ws/public", self.socket),
            rest(f"{root}/v3/market/instruments", self._listed),
            rest(f"{root}/v2/spot/market/fills-history", self._spot_fills),
            rest(f"{root}/v2/mix/market/fills-history", self._mix_fills),
        ]

    def channel(self, instrument: Instrument) -> str:
        return _name(_Argument(_family(instrument), "publicTrade", instrument.native))

    def message(self, client: Client, path: str, text: str) -> None:
        if text == "ping":
            client.send("pong")
            return
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode({"event": "error", "code": 30002, "msg": "Invalid request"}))
            return
        for argument in message.args:
            self._apply(client, message.op, argument)

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [self._trades_frame("update", trades)])

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        argument = _Argument(_family(instrument), "liquidation")
        # The side is that of the position, the amount in dollars.
        rows = [
            {
                "symbol": instrument.native, "side": "sell" if t.buy else "buy", "price": t.price,
                "amount": t.notional, "ts": str(t.ts_ms),
            }
            for t in reversed(trades)
        ]  # fmt: skip
        self.hub.publish(_name(argument), [self._frame("update", argument, rows)])

    def _apply(self, client: Client, op: str, argument: _Argument) -> None:
        instrument = self._find(argument.instType, argument.symbol)
        all_forced = argument.topic == "liquidation" and argument.instType == "usdt-futures"
        known = all_forced or (argument.topic == "publicTrade" and instrument is not None)
        if op not in ("subscribe", "unsubscribe") or not known:
            text = f"instType:{argument.instType},topic:{argument.topic} doesn't exist"
            client.send(encode({"event": "error", "arg": argument, "code": 30001, "msg": text}))
            return
        client.send(encode({"event": op, "arg": argument}))
        if op == "unsubscribe":
            self.hub.unsubscribe(client, _name(argument))
            return
        if instrument is not None:
            now = self.market.clock() + 1
            if old := self.market.before(instrument.market, now, _HISTORY):
                client.send(self._trades_frame("snapshot", old))
        self.hub.subscribe(client, _name(argument))

    def _trades_frame(self, action: str, trades: Sequence[Trade]) -> str:
        instrument = trades[0].instrument
        argument = _Argument(_family(instrument), "publicTrade", instrument.native)
        rows = [
            {
                "p": t.price, "S": "buy" if t.buy else "sell", "T": str(t.ts_ms), "v": t.size,
                "i": str(_FIRST_ID + t.id), "isRPI": "no",
            }
            for t in reversed(trades)
        ]  # fmt: skip
        return self._frame(action, argument, rows)

    def _frame(self, action: str, argument: _Argument, rows: list[dict[str, str]]) -> str:
        now = self.market.clock()
        return encode({"data": rows, "arg": argument, "action": action, "ts": now})

    def _listed(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        category = parameters.get("category", "")
        rows = [
            {
                "symbol": i.native, "category": category, "baseCoin": i.base, "quoteCoin": i.quote,
                "status": "online", "type": "perpetual" if i.kind == "perp" else "",
            }
            for i in self.instruments
            if _family(i) == category.lower()
        ]  # fmt: skip
        return {**_OK, "requestTime": self.market.clock(), "data": rows}

    def _spot_fills(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        return self._fills("spot", parameters)

    def _mix_fills(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        return self._fills(parameters.get("productType", "").lower(), parameters)

    def _fills(self, family: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """From `startTime` to `endTime`, the newest ones below `idLessThan`, newest first."""
        instrument = self._find(family, parameters.get("symbol", ""))
        if instrument is None:
            return {"code": "40034", "msg": "Parameter symbol does not exist", "data": None}
        limit = min(_MOST, whole(parameters, "limit", 500))
        below = whole(parameters, "idLessThan", 0) - _FIRST_ID
        if below > 0:
            found = self.market.before_id(instrument.market, below, limit)
        else:
            end_ms = whole(parameters, "endTime", self.market.clock())
            found = self.market.before(instrument.market, end_ms + 1, limit)
        start_ms = whole(parameters, "startTime", 0)
        rows = [
            {
                "symbol": instrument.native, "tradeId": str(_FIRST_ID + t.id), "price": t.price,
                "side": "Buy" if t.buy else "Sell", "size": t.size, "ts": str(t.ts_ms),
            }
            for t in reversed(found)
            if t.ts_ms >= start_ms
        ]  # fmt: skip
        return {**_OK, "requestTime": self.market.clock(), "data": rows}

    def _find(self, family: str, native: str) -> Instrument | None:
        return next(
            (i for i in self.instruments if i.native == native and _family(i) == family), None
        )


def _family(instrument: Instrument) -> str:
    return "spot" if instrument.kind == "spot" else "usdt-futures"


def _name(argument: _Argument) -> str:
    return f"bitget/{argument.instType}/{argument.topic}/{argument.symbol}"
