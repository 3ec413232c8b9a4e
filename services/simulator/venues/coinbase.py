"""Coinbase Exchange. https://docs.cdp.coinbase.com/exchange/websocket-feed/channels"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from services.simulator.connections import Client
from services.simulator.instruments import Instrument, Trade
from services.simulator.venues.base import BadRequest, Venue, encode, rest, whole

INSTRUMENTS = (
    Instrument("COINBASE:BTC-USD", "BTC", "USD", "spot", "BTC-USD", 2, 8, 0.25, 9.0, 0.6),
    Instrument("COINBASE:ETH-USD", "ETH", "USD", "spot", "ETH-USD", 2, 8, 0.25, 8.0, 0.6),
)

_CHANNELS = ("matches", "heartbeat")
_SUBSCRIBE_WITHIN_S = 5.0
_ORDER_SPACE = uuid.UUID("3c82abaa-c01e-4608-be59-6a1e69742891")


class _Named(msgspec.Struct):
    name: str
    product_ids: list[str] = []


class _Message(msgspec.Struct):
    type: str
    product_ids: list[str] = []
    channels: list[_Named | str] = []


class Coinbase(Venue):
    """Spot; the side on the wire is the maker's."""

    name = "COINBASE"
    instruments = INSTRUMENTS
    gapless = True
    ping_interval_s: ClassVar[float | None] = 30.0

    def routes(self) -> list[web.RouteDef]:
        root = "/api.exchange.coinbase.com"
        return [
            web.get("/ws-feed.exchange.coinbase.com", self.socket),
            web.get("/ws-feed.exchange.coinbase.com/", self.socket),
            rest(f"{root}/time", self._time),
            rest(f"{root}/products", lambda _: [_product(i) for i in self.instruments]),
            self._trades_route(f"{root}/products/{{product}}/trades"),
        ]

    def channel(self, instrument: Instrument) -> str:
        return f"coinbase/matches/{instrument.native}"

    def message(self, client: Client, path: str, text: str) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError as error:
            client.send(encode(_error("Malformed JSON", str(error))))
            return
        if message.type not in ("subscribe", "unsubscribe"):
            reason = f"{message.type} is not a valid type"
            client.send(encode(_error("Type has to be either subscribe or unsubscribe", reason)))
            return
        wanted = [
            (named, product)
            for channel in message.channels
            for named in [channel if isinstance(channel, str) else channel.name]
            for product in (
                message.product_ids
                if isinstance(channel, str) or not channel.product_ids
                else channel.product_ids
            )
        ]
        for named, product in wanted:
            if named not in _CHANNELS:
                client.send(
                    encode(_error("Failed to subscribe", f"{named} is not a valid channel"))
                )
                return
            if self._find(product) is None:
                reason = f"{product} is not a valid product"
                client.send(encode(_error("Failed to subscribe", reason)))
                return
        for named, product in wanted:
            self._apply(client, message.type, named, product)
        client.send(encode({"type": "subscriptions", "channels": self._subscriptions(client)}))

    def publish(self, trades: Sequence[Trade]) -> None:
        channel = self.channel(trades[0].instrument)
        if self.hub.heard(channel):
            self.hub.publish(channel, [encode(_match("match", trade)) for trade in trades])

    def _patience(self, client: Client) -> float | None:
        return None if self.hub.channels_of(client) else _SUBSCRIBE_WITHIN_S

    def _apply(self, client: Client, kind: str, named: str, product: str) -> None:
        channel = f"coinbase/{named}/{product}"
        if kind == "unsubscribe":
            self.hub.unsubscribe(client, channel)
            return
        instrument = self._find(product)
        if named == "matches" and instrument:
            last = self.market.before(instrument.market, self.market.clock() + 1, 1)
            for trade in last:
                client.send(encode(_match("last_match", trade)))
        self.hub.subscribe(client, channel)

    def _subscriptions(self, client: Client) -> list[dict[str, Any]]:
        products: dict[str, list[str]] = {}
        for channel in self.hub.channels_of(client):
            _, named, product = channel.split("/")
            products.setdefault(named, []).append(product)
        return [{"name": name, "product_ids": ids} for name, ids in products.items()]

    def _time(self, _: Mapping[str, str]) -> dict[str, Any]:
        now = self.market.clock()
        return {"iso": _iso(now, 0), "epoch": now / 1000}

    def _trades_route(self, path: str) -> web.RouteDef:
        return rest(path, self._trades)

    def _trades(self, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Newest first; `after` is a trade id, exclusive, and leads to older trades."""
        instrument = self._find(parameters["product"])
        if instrument is None:
            raise BadRequest(404, {"message": "NotFound"})
        limit = min(1000, whole(parameters, "limit", 1000))
        if "after" in parameters:
            after = whole(parameters, "after", 0)
            found = self.market.before_id(instrument.market, after, limit)
        else:
            found = self.market.before(instrument.market, self.market.clock() + 1, limit)
        return [
            {
                "trade_id": t.id, "side": "sell" if t.buy else "buy", "size": t.size,
                "price": t.price, "time": _iso(t.ts_ms, t.id),
            }
            for t in reversed(found)
        ]  # fmt: skip

    def _find(self, product: str) -> Instrument | None:
        return next((i for i in self.instruments if i.native == product), None)


def _error(message: str, reason: str) -> dict[str, str]:
    return {"type": "error", "message": message, "reason": reason}


def _match(kind: str, trade: Trade) -> dict[str, Any]:
    return {
        "type": kind, "trade_id": trade.id, "maker_order_id": _order(trade, "maker"),
        "taker_order_id": _order(trade, "taker"), "side": "sell" if trade.buy else "buy",
        "size": trade.size, "price": trade.price, "product_id": trade.instrument.native,
        "sequence": 177_000_000 + 3 * trade.id, "time": _iso(trade.ts_ms, trade.id),
    }  # fmt: skip


def _order(trade: Trade, role: str) -> str:
    return str(uuid.uuid5(_ORDER_SPACE, f"{trade.instrument.native}/{trade.id}/{role}"))


def _iso(ts_ms: int, trade_id: int) -> str:
    """ISO time in microseconds; the id supplies the part below the millisecond."""
    second, ms = divmod(ts_ms, 1000)
    whole_second = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole_second}.{ms:03d}{trade_id % 1000:03d}Z"


def _product(instrument: Instrument) -> dict[str, Any]:
    return {
        "id": instrument.native, "base_currency": instrument.base,
        "quote_currency": instrument.quote, "quote_increment": instrument.tick,
        "base_increment": instrument.step, "display_name": instrument.native.replace("-", "/"),
        "min_market_funds": "1", "margin_enabled": False, "post_only": False, "limit_only": False,
        "cancel_only": False, "status": "online", "status_message": "", "trading_disabled": False,
        "fx_stablecoin": False, "auction_mode": False,
    }  # fmt: skip
