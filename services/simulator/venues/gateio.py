"""Gate, spot and perpetuals. https://www.gate.com/docs/developers/apiv4/ws/en/"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade, fixed
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("GATEIO:BTC_USDT-SPOT", "BTC", "USDT", "spot", "BTC_USDT", 1, 5, 0.05, 3.0, -0.2,
               quiet=0.2, apart=True),
    Instrument("GATEIO:BTC_USDT", "BTC", "USDT", "perp", "BTC_USDT", 1, 1, 0.06, 5.0, 0.2,
               quiet=0.1, contract_decimals=4, apart=True),
    Instrument("GATEIO:BTC_USD", "BTC", "USD", "perp", "BTC_USD", 1, 0, 0.01, 1.0, 0.4,
               quiet=0.4, apart=True, inverse_usd=1),
)  # fmt: skip

_REST = "/api.gateio.ws/api/v4"
_FUTURES = "/fx-ws.gateio.ws/v4/ws"
_MOST = 1000
_TRADES, _FORCED = "trades", "public_liquidates"


class _Message(msgspec.Struct):
    time: int
    channel: str
    event: str = ""
    payload: list[str] = []


class Gateio(Venue):
    """Sizes of contracts are signed decimals, as clients get them that ask for decimals."""

    name = "GATEIO"
    instruments = INSTRUMENTS
    signed = True

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api.gateio.ws/ws/v4/", self.socket),
            *(web.get(f"{_FUTURES}/{settle}", self.socket) for settle in ("usdt", "btc", "usd1")),
            rest(f"{_REST}/spot/currency_pairs", self._pairs),
            rest(f"{_REST}/spot/trades", self._spot_trades),
            rest(f"{_REST}/futures/{{settle}}/contracts", self._contracts),
            rest(f"{_REST}/futures/{{settle}}/trades", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return _name(_settle(instrument), _TRADES, instrument.native)

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(encode({"event": "", "error": {"code": 1, "message": "invalid request"}}))
            return
        family, _, topic = message.channel.partition(".")
        if topic == "ping":
            client.send(encode({"time": self._now_s(), "channel": f"{family}.pong", "event": ""}))
            return
        settle = path.rpartition("/")[2] or "spot"
        refusal = self._refusal(settle, family, topic, message.payload)
        answer = {"time": self._now_s(), "channel": message.channel, "event": message.event}
        if refusal:
            error = {"code": 2, "message": refusal}
            client.send(encode({**answer, "payload": message.payload, "error": error}))
            return
        act = self.hub.subscribe if message.event == "subscribe" else self.hub.unsubscribe
        for native in message.payload:
            act(client, _name(settle, topic, native))
        client.send(encode({**answer, "result": {"status": "success"}}))

    def publish(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        if not self.hub.heard(self.channel(instrument)):
            return
        if instrument.kind == "spot":
            frames = [self._update("spot.trades", _spot_row(trade)) for trade in trades]
        else:
            frames = [self._update("futures.trades", [_row(trade) for trade in trades])]
        self.hub.publish(self.channel(instrument), frames)

    def publish_liquidations(self, trades: Sequence[Trade]) -> None:
        instrument = trades[0].instrument
        rows = [
            {"contract": instrument.native, "price": t.price, "size": _signed(t), "time": t.ts_ms}
            for t in trades
        ]
        channel = _name(_settle(instrument), _FORCED, instrument.native)
        self.hub.publish(channel, [self._update("futures.public_liquidates", rows)])

    def _refusal(self, settle: str, family: str, topic: str, payload: list[str]) -> str:
        known = (_TRADES,) if settle == "spot" else (_TRADES, _FORCED)
        if topic not in known or (family == "spot") is not (settle == "spot"):
            return f"unknown channel {family}.{topic}"
        for native in payload:
            if self._find(settle, native) is None:
                return f"unknown {'currency pair:' if settle == 'spot' else 'contract'} {native}"
        return ""

    def _update(self, channel: str, result: object) -> str:
        now = self.market.clock()
        return encode(
            {"time": now // 1000, "time_ms": now, "channel": channel, "event": "update",
             "result": result}
        )  # fmt: skip

    def _pairs(self, _: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {"id": i.native, "base": i.base, "quote": i.quote, "trade_status": "tradable"}
            for i in self.instruments
            if i.kind == "spot"
        ]

    def _contracts(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        found = [i for i in self.instruments if _settle(i) == parameters["settle"]]
        return [
            {
                "name": i.native, "type": "inverse" if i.inverse_usd else "direct",
                "quanto_multiplier": "0" if i.inverse_usd else fixed(1, i.contract_decimals),
                "status": "trading", "in_delisting": False,
            }
            for i in found
        ]  # fmt: skip

    def _spot_trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        found = self._between("spot", parameters.get("currency_pair", ""), parameters)
        return [{**_spot_row(t), "id": str(t.id)} for t in found]

    def _trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        found = self._between(parameters["settle"], parameters.get("contract", ""), parameters)
        return [{**_row(t), "create_time_ms": t.ts_ms / 1000} for t in found]

    def _between(self, settle: str, native: str, parameters: Mapping[str, str]) -> list[Trade]:
        """Of the seconds `from` to `to`, both inclusive, the newest, newest first."""
        instrument = self._find(settle, native)
        if instrument is None:
            raise BadRequest(400, {"label": "INVALID_CURRENCY_PAIR", "message": native})
        limit = min(_MOST, whole(parameters, "limit", 100))
        end_ms = (whole(parameters, "to", self._now_s()) + 1) * 1000
        start_ms = whole(parameters, "from", 0) * 1000
        found = self.market.before(instrument.market, end_ms, limit)
        return [t for t in reversed(found) if t.ts_ms >= start_ms]

    def _find(self, settle: str, native: str) -> Instrument | None:
        return next(
            (i for i in self.instruments if i.native == native and _settle(i) == settle), None
        )

    def _now_s(self) -> int:
        return self.market.clock() // 1000


def _settle(instrument: Instrument) -> str:
    if instrument.kind == "spot":
        return "spot"
    return "btc" if instrument.inverse_usd else "usdt"


def _name(settle: str, topic: str, native: str) -> str:
    return f"gateio/{settle}/{topic}/{native}"


def _signed(trade: Trade) -> str:
    return trade.size if trade.buy else f"-{trade.size}"


def _spot_row(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id, "create_time": trade.ts_ms // 1000, "create_time_ms": f"{trade.ts_ms}.0",
        "side": "buy" if trade.buy else "sell", "currency_pair": trade.instrument.native,
        "amount": trade.size, "price": trade.price,
    }  # fmt: skip


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id, "create_time": trade.ts_ms // 1000, "create_time_ms": trade.ts_ms,
        "contract": trade.instrument.native, "size": _signed(trade), "price": trade.price,
    }  # fmt: skip
