"""Gemini, spot and perpetuals. https://docs.gemini.com/websocket/market-data/v2"""

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
    Page,
    Past,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    batches,
    coin,
    encode,
    split_pair,
)

_TRADES = "https://api.gemini.com/v1/trades/{}?{}={}&limit_trades={}"
_TRADES_LIMIT = 500
_PERP = "perp"
_QUOTES = ("GUSD", "USDT", "USDC", "RLUSD", "USD", "EUR", "GBP", "SGD", "BTC", "ETH", "DAI", "FIL")
_SYMBOLS_PER_MESSAGE = 25
# A frame says what it is at its beginning; book frames are too large to be searched.
_HEAD = 64


class _Trade(msgspec.Struct, gc=False):
    type: str
    symbol: str
    event_id: int
    timestamp: int
    price: float
    quantity: float
    side: Literal["buy", "sell"]


class _Answer(msgspec.Struct):
    result: str = ""
    reason: str = ""
    message: str = ""


class _PastTrade(msgspec.Struct, gc=False):
    timestampms: int
    tid: int
    price: float
    amount: float
    type: Literal["buy", "sell"]


_trade = msgspec.json.Decoder(_Trade, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False)
_symbols = msgspec.json.Decoder(list[str])


class Gemini(Adapter):
    """Sizes in base coins. Trades come with the order book, which is skipped.

    Unconfirmed: how many symbols one connection may carry, and the shape of a refusal.
    """

    name = "GEMINI"
    channels = {  # noqa: RUF012
        "public": Channel(url="wss://api.gemini.com/v2/marketdata", max_streams=50)
    }
    discovery = (Request("https://api.gemini.com/v1/symbols"),)
    rest_spacing_s = 1.0

    def instruments(self, body: bytes) -> Page:
        """`["btcusd","ethusd","btcgusdperp"]`: the list names coins only by its symbols."""
        return Page([self.assume(symbol.upper()) for symbol in _symbols.decode(body)])

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """The first book of each symbol confirms its subscription."""
        return [
            Subscription(
                encode(
                    {"type": "subscribe", "subscriptions": [{"name": "l2", "symbols": list(part)}]}
                ),
                acks=len(part),
            )
            for part in batches([s.instrument.wire for s in streams], _SYMBOLS_PER_MESSAGE)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"type":"trade","symbol":"ANKRUSD","event_id":45465818387,"timestamp":1624493670759,
        "price":"0.07946","quantity":"1020.482111","side":"buy"}` (side: of the taker)

        `{"type":"l2_updates","symbol":"BTCUSD","changes":[["buy","9122.04","0.00121425"]],
        "trades":[..],"auction_events":[..]}`: only the first of a symbol has `trades`, old ones.
        """
        head = frame[:_HEAD]
        if b'"l2_updates"' in head:
            return (Ack(),) if b'"trades"' in frame else NOTHING
        if b'"trade"' in head:
            t = _trade.decode(frame)
            id = t.event_id
            return (Trade(t.symbol, t.timestamp, t.price, t.quantity, t.side == "buy", id, id),)
        return _parse_answer(frame) if b'"result"' in head else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        wire = wire.upper()
        perpetual = wire.endswith(_PERP.upper())
        base, quote = split_pair(wire[: -len(_PERP)] if perpetual else wire, _QUOTES)
        return Instrument(
            symbol=wire.lower(),
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if perpetual else "spot",
            channel="public",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return _after(instrument, "timestamp", window.from_ms - 1)

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"timestamp":1601617445,"timestampms":1601617445144,"tid":14122489752,
        "price":"0.46476","amount":"28.407209","exchange":"gemini","type":"buy"}]`

        The oldest ones after the cursor, newest first; type: side of the taker.
        """
        rows = _past_trades.decode(body)
        trades = [
            Trade(instrument.wire, t.timestampms, t.price, t.amount, t.type == "buy", t.tid, t.tid)
            for t in rows
        ]
        newest = max(rows, key=lambda row: row.tid, default=None)
        more = newest and len(rows) >= _TRADES_LIMIT and newest.timestampms < window.to_ms
        return Past(
            trades, _after(instrument, "since_tid", newest.tid) if newest and more else None
        )

    def wire_symbol(self, text: str) -> str:
        return text.upper()


def _after(instrument: Instrument, cursor: str, value: int) -> Request:
    return Request(_TRADES.format(instrument.symbol, cursor, value, _TRADES_LIMIT))


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"result":"error","reason":"InvalidSymbol","message":"..."}`"""
    answer = _answer.decode(frame)
    if answer.result != "error":
        return NOTHING
    return (Rejection(f"{answer.reason} {answer.message}".strip() or "refused"),)
