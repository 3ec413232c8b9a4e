"""Coinbase Exchange spot. https://docs.cdp.coinbase.com/exchange/websocket-feed/channels"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Instrument,
    Liquidation,
    Moment,
    Page,
    Past,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    encode,
    milliseconds,
)

_TRADES = "https://api.exchange.coinbase.com/products/{}/trades?limit=1000"


class _Match(msgspec.Struct, gc=False):
    trade_id: int
    side: Literal["buy", "sell"]
    size: float
    price: float
    product_id: str
    time: Moment


class _PastTrade(msgspec.Struct, gc=False):
    trade_id: int
    side: Literal["buy", "sell"]
    size: float
    price: float
    time: Moment


class _Error(msgspec.Struct):
    message: str = ""
    reason: str = ""


class _Product(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str
    status: str


_match = msgspec.json.Decoder(_Match, strict=False)
_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False)
_error = msgspec.json.Decoder(_Error)
_products = msgspec.json.Decoder(list[_Product])


class Coinbase(Adapter):
    """Spot; sizes in base coins."""

    name = "COINBASE"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://ws-feed.exchange.coinbase.com", max_streams=100)
    }
    discovery = (Request("https://api.exchange.coinbase.com/products"),)
    gapless = True
    connect_spacing_s = 0.2
    message_spacing_s = 0.1

    def instruments(self, body: bytes) -> Page:
        """`[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","status":"online"}]`"""
        return Page(
            [
                Instrument(
                    symbol=row.id,
                    wire=row.id,
                    base=coin(row.base_currency),
                    quote=row.quote_currency,
                    kind="spot",
                    channel="spot",
                )
                for row in _products.decode(body)
                if row.status == "online"
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        wanted = {"name": "matches", "product_ids": [s.instrument.wire for s in streams]}
        return [Subscription(encode({"type": "subscribe", "channels": [wanted]}))]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"type":"match","trade_id":280232,"side":"sell","size":"985","price":"0.00001305",
        "product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}`

        side is that of the maker: `sell` says that the taker bought. The first frame of a product
        is a `last_match`, a trade from before the subscription.
        """
        if b'"match"' in frame:
            m = _match.decode(frame)
            return (_trade(m.product_id, m),)
        if b'"subscriptions"' in frame:
            return (Ack(),)
        if b'"error"' in frame:
            error = _error.decode(frame)
            return (Rejection(f"{error.message} {error.reason}".strip() or "refused"),)
        return NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, _, quote = wire.partition("-")
        return Instrument(
            symbol=wire, wire=wire, base=coin(base), quote=quote, kind="spot", channel="spot"
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_TRADES.format(instrument.wire))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"trade_id":280232,"side":"sell","size":"985","price":"0.00001305",
        "time":"2021-04-17T16:43:37.089723Z"}]`, newest first, side of the maker.

        The venue goes back by id only, so all trades since the window are asked for.
        """
        trades = [_trade(instrument.wire, row) for row in _past_trades.decode(body)]
        if not trades or min(t.ts_ms for t in trades) < window.from_ms:
            return Past(trades)
        oldest = min(t.order for t in trades)
        return Past(trades, Request(f"{_TRADES.format(instrument.wire)}&after={oldest}"))


def _trade(wire: str, m: _Match | _PastTrade) -> Trade:
    ts_ms = milliseconds(m.time)
    return Trade(wire, ts_ms, m.price, m.size, m.side == "sell", m.trade_id, m.trade_id)
