"""Bitstamp, spot. https://www.bitstamp.net/websocket/v2/"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest

INSTRUMENTS = (
    Instrument("BITSTAMP:btcusd", "BTC", "USD", "spot", "btcusd", 0, 8, 0.05, 2.5, 0.7,
               quiet=0.15, apart=True),
    Instrument("BITSTAMP:ethusd", "ETH", "USD", "spot", "ethusd", 1, 8, 0.05, 2.0, 0.7,
               quiet=0.2, apart=True),
)  # fmt: skip

_CHANNEL = "live_trades_"
_SPANS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_ALL = 1 << 20


class _Named(msgspec.Struct):
    channel: str = ""


class _Message(msgspec.Struct):
    event: str
    data: _Named = msgspec.field(default_factory=_Named)


class Bitstamp(Venue):
    """Numbers twice over, as such and as texts; the past by whole spans only."""

    name = "BITSTAMP"
    instruments = INSTRUMENTS

    def routes(self) -> list[web.RouteDef]:
        root = "/www.bitstamp.net/api/v2"
        return [
            web.get("/ws.bitstamp.net", self.socket),
            web.get("/ws.bitstamp.net/", self.socket),
            rest(f"{root}/markets/", lambda _: [_info(i) for i in self.instruments]),
            rest(f"{root}/transactions/{{pair}}/", self._transactions),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"bitstamp/{_CHANNEL}{instrument.native}"

    def farewell(self, client: Client) -> str:
        return encode({"event": "bts:request_reconnect", "channel": "", "data": ""})

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(_error("", "Incorrect JSON format."))
            return
        if message.event == "bts:heartbeat":
            client.send(encode({"event": "bts:heartbeat", "channel": "", "data": {
                "status": "success"}}))  # fmt: skip
            return
        channel = message.data.channel
        instrument = self._find(channel.removeprefix(_CHANNEL))
        if instrument is None or not channel.startswith(_CHANNEL):
            client.send(_error(channel, "Bad subscription string."))
        elif message.event == "bts:subscribe":
            confirmed = {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}
            client.send(encode(confirmed))
            self.hub.subscribe(client, self.channel(instrument))
        elif message.event == "bts:unsubscribe":
            self.hub.unsubscribe(client, self.channel(instrument))
        else:
            client.send(_error(channel, "Unknown event."))

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [_frame(trade) for trade in trades])

    def _transactions(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """All of the last minute, hour or day, newest first."""
        instrument = self._find(parameters["pair"])
        span_ms = _SPANS_MS.get(parameters.get("time", "hour"))
        if instrument is None or span_ms is None:
            raise BadRequest(404, {"status": "error", "reason": "Invalid pair or time"})
        now = self.market.clock()
        found = self.market.since(instrument.market, now - span_ms, now, _ALL)
        return [_row(trade) for trade in reversed(found)]

    def _find(self, name: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == name), None)


def _error(channel: str, reason: str) -> str:
    return encode(
        {"event": "bts:error", "channel": channel, "data": {"code": None, "message": reason}}
    )


def _frame(trade: Trade) -> str:
    data = {
        "id": trade.id, "timestamp": str(trade.ts_ms // 1000), "amount": float(trade.size),
        "amount_str": trade.size, "price": float(trade.price), "price_str": trade.price,
        "type": 0 if trade.buy else 1, "microtimestamp": str(trade.ts_ms * 1000),
        "buy_order_id": 10**15 + 2 * trade.id, "sell_order_id": 10**15 + 2 * trade.id + 1,
    }  # fmt: skip
    channel = f"{_CHANNEL}{trade.instrument.native}"
    return encode({"data": data, "channel": channel, "event": "trade"})


def _row(trade: Trade) -> dict[str, str]:
    return {
        "date": str(trade.ts_ms // 1000), "tid": str(trade.id), "amount": trade.size,
        "type": "0" if trade.buy else "1", "price": trade.price,
    }  # fmt: skip


def _info(instrument: Instrument) -> dict[str, Any]:
    return {
        "name": f"{instrument.base}/{instrument.quote}", "market_symbol": instrument.native,
        "base_currency": instrument.base, "counter_currency": instrument.quote,
        "base_decimals": instrument.size_decimals, "counter_decimals": instrument.price_decimals,
        "trading": "Enabled", "market_type": "SPOT",
    }  # fmt: skip
