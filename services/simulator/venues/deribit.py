"""Deribit, inverse and linear perpetuals and spot. https://docs.deribit.com"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("DERIBIT:BTC-PERPETUAL", "BTC", "USD", "perp", "BTC-PERPETUAL", 1, 0, 0.05, 4.0,
               0.2, quiet=0.15, apart=True, inverse_usd=10),
    Instrument("DERIBIT:ETH_USDC-PERPETUAL", "ETH", "USDC", "perp", "ETH_USDC-PERPETUAL", 2, 3,
               0.03, 2.5, 0.3, quiet=0.2, apart=True),
    Instrument("DERIBIT:BTC_USDC", "BTC", "USDC", "spot", "BTC_USDC", 1, 4, 0.02, 2.0, 0.5,
               quiet=0.3, apart=True),
)  # fmt: skip

_MOST = 1000
_INVALID = {"code": -32602, "message": "Invalid params"}


class _Parameters(msgspec.Struct):
    channels: list[str] = []
    interval: int = 0


class _Message(msgspec.Struct):
    method: str
    id: int | str
    params: _Parameters = msgspec.field(default_factory=_Parameters)


class Deribit(Venue):
    """Channels that do not exist are left out of the answer; heartbeats ask for a test."""

    name = "DERIBIT"
    instruments = INSTRUMENTS
    beat_s = 30.0
    beats_missed = 1
    gapless = True

    def routes(self) -> list[web.RouteDef]:
        root = "/www.deribit.com/api/v2/public"
        return [
            web.get("/www.deribit.com/ws/api/v2", self.socket),
            rest(f"{root}/get_instruments", self._instruments),
            rest(f"{root}/get_last_trades_by_instrument_and_time", self._trades),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"deribit/trades.{instrument.native}.100ms"

    def beat(self, client: Client) -> str:
        return encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}})

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            client.send(_refusal(None, {"code": -32700, "message": "Parse error"}))
            return
        match message.method:
            case "public/test":
                client.unanswered = 0
                client.send(_result(message.id, {"version": "1.2.26"}))
            case "public/set_heartbeat" if message.params.interval >= 10:
                client.send(_result(message.id, "ok"))
            case "public/subscribe":
                self._subscribe(client, message)
            case "public/unsubscribe":
                for instrument in self._found(message):
                    self.hub.unsubscribe(client, self.channel(instrument))
                client.send(_result(message.id, message.params.channels))
            case "public/set_heartbeat":
                client.send(_refusal(message.id, _INVALID))
            case _:
                client.send(_refusal(message.id, {"code": -32601, "message": "Method not found"}))

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            name = channel.partition("/")[2]
            parameters = {"channel": name, "data": [_row(trade) for trade in trades]}
            frame = {"jsonrpc": "2.0", "method": "subscription", "params": parameters}
            self.hub.publish(channel, [encode(frame)])

    def _subscribe(self, client: Client, message: _Message) -> None:
        if any(name.endswith(".raw") for name in message.params.channels):
            reason = "raw_subscriptions_not_available_for_unauthorized"
            client.send(_refusal(message.id, {"code": 13778, "message": reason}))
            return
        channels = [self.channel(instrument) for instrument in self._found(message)]
        client.send(_result(message.id, [name.partition("/")[2] for name in channels]))
        for channel in channels:
            self.hub.subscribe(client, channel)

    def _found(self, message: _Message) -> list[Instrument]:
        wanted = {f"deribit/{name}" for name in message.params.channels}
        return [i for i in self.instruments if self.channel(i) in wanted]

    def _instruments(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        currency, kind = parameters.get("currency", ""), parameters.get("kind", "")
        rows = [_info(i) for i in self.instruments]
        return {
            "jsonrpc": "2.0",
            "result": [
                row
                for row in rows
                if currency in ("any", row["settlement_currency"]) and kind in ("", row["kind"])
            ],
        }

    def _trades(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """From start to end, both inclusive; at most 1000."""
        native = parameters.get("instrument_name", "")
        instrument = next((i for i in self.instruments if i.native == native), None)
        if instrument is None:
            raise BadRequest(400, {"jsonrpc": "2.0", "error": _INVALID})
        now = self.market.clock()
        count = min(_MOST, whole(parameters, "count", 10))
        start = whole(parameters, "start_timestamp", 0)
        end = whole(parameters, "end_timestamp", now)
        if parameters.get("sorting") == "asc":
            found = self.market.since(instrument.market, start, end, count + 1)
            rows = [_row(trade) for trade in found[:count]]
        else:
            found = self.market.before(instrument.market, end + 1, count + 1)[::-1]
            found = [trade for trade in found if trade.ts_ms >= start]
            rows = [_row(trade) for trade in found[:count]]
        return {"jsonrpc": "2.0", "result": {"trades": rows, "has_more": len(found) > count}}


def _result(id: int | str, result: object) -> str:
    return encode({"jsonrpc": "2.0", "id": id, "result": result, "testnet": False})


def _refusal(id: int | str | None, error: object) -> str:
    return encode({"jsonrpc": "2.0", "id": id, "error": error, "testnet": False})


def _row(trade: Trade) -> dict[str, Any]:
    """The amount is in USD for inverse contracts, else in coins."""
    inverse = trade.instrument.inverse_usd
    amount = trade.notional if inverse else trade.size
    row = {
        "trade_seq": trade.id, "trade_id": f"{trade.instrument.base}-{trade.id}",
        "timestamp": trade.ts_ms, "tick_direction": 0, "price": msgspec.Raw(trade.price.encode()),
        "instrument_name": trade.instrument.native, "direction": "buy" if trade.buy else "sell",
        "amount": msgspec.Raw(amount.encode()),
    }  # fmt: skip
    return row | {"liquidation": "T"} if trade.liquidation else row


def _info(instrument: Instrument) -> dict[str, Any]:
    spot = instrument.kind == "spot"
    inverse = bool(instrument.inverse_usd)
    row = {
        "instrument_name": instrument.native, "kind": "spot" if spot else "future",
        "base_currency": instrument.base, "counter_currency": instrument.quote,
        "quote_currency": instrument.quote, "is_active": True,
        "settlement_currency": instrument.base if inverse else instrument.quote,
        "contract_size": float(instrument.inverse_usd or instrument.step),
        "tick_size": float(instrument.tick),
    }  # fmt: skip
    if spot:
        return row
    kind = "reversed" if inverse else "linear"
    return row | {"future_type": kind, "settlement_period": "perpetual"}
