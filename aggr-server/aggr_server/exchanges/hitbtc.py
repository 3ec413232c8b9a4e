"""HitBTC v3. https://api.hitbtc.com/#subscribe-to-trades"""

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
    batches,
    coin,
    encode,
    milliseconds,
    split_pair,
)

_REST = "https://api.hitbtc.com/api/3/public"
_PAGE = 1000
_QUOTES = ("USDT", "USDC", "USD", "TUSD", "DAI", "BTC", "ETH", "EUR")
_PERP = "_PERP"
_INVALID = "_BQX"


class _Trade(msgspec.Struct, gc=False):
    t: int
    i: int
    p: float
    q: float
    s: Literal["buy", "sell"]


class _Trades(msgspec.Struct, gc=False):
    update: dict[str, list[_Trade]]


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""
    description: str = ""


class _Subscribed(msgspec.Struct):
    ch: str = ""


class _Answer(msgspec.Struct):
    result: _Subscribed | bool | None = None
    error: _Error | None = None


class _Symbol(msgspec.Struct):
    type: str
    quote_currency: str
    base_currency: str | None = None
    underlying: str | None = None
    expiry: str | int | None = None


class _PastTrade(msgspec.Struct):
    id: int
    price: float
    qty: float
    side: Literal["buy", "sell"]
    timestamp: Moment


_trades = msgspec.json.Decoder(_Trades, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_symbols = msgspec.json.Decoder(dict[str, _Symbol])
_past = msgspec.json.Decoder(list[_PastTrade], strict=False)


class Hitbtc(Adapter):
    """Spot and linear contracts; sizes in base coins."""

    name = "HITBTC"
    channels = {  # noqa: RUF012
        "public": Channel(url="wss://api.hitbtc.com/api/3/ws/public", max_streams=200)
    }
    discovery = (Request(f"{_REST}/symbol"),)

    def instruments(self, body: bytes) -> Page:
        """`{"BTCUSDT":{"type":"spot","base_currency":"BTC","quote_currency":"USDT"},
        "BTCUSDT_PERP":{"type":"futures","expiry":null,"underlying":"BTC","base_currency":null,
        "quote_currency":"USDT"}}`
        """
        return Page(
            [
                Instrument(
                    symbol=symbol,
                    wire=symbol,
                    base=coin(row.base_currency or row.underlying or ""),
                    quote=row.quote_currency,
                    kind="spot" if row.type == "spot" else "future" if row.expiry else "perp",
                    channel="public",
                )
                for symbol, row in _symbols.decode(body).items()
                if row.type in ("spot", "futures") and not symbol.endswith(_INVALID)
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        wires = [s.instrument.wire for s in streams]
        return [
            Subscription(
                encode(
                    {
                        "method": "subscribe",
                        "ch": "trades",
                        "params": {"symbols": list(part), "limit": 0},
                        "id": number,
                    }
                )
            )
            for number, part in enumerate(batches(wires, 50), start=1)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"ch":"trades","update":{"BTCUSDT":[{"t":1626861123552,"i":1555634969,"p":"30877.68",
        "q":"0.00006","s":"sell"}]}}` (s: taker). Old trades come as `snapshot`.
        """
        if b'"update"' in frame:
            if b'"trades"' not in frame:
                return NOTHING
            return [
                Trade(wire, row.t, row.p, row.q, row.s == "buy", row.i, row.i)
                for wire, rows in _trades.decode(frame).update.items()
                for row in sorted(rows, key=lambda row: row.i)
            ]
        return _parse_answer(frame) if b'"result"' in frame or b'"error"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """BTCUSDT: spot. BTCUSDT_PERP: perpetual."""
        base, quote = split_pair(wire.removesuffix(_PERP), _QUOTES)
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if wire.endswith(_PERP) else "spot",
            channel="public",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(
            f"{_REST}/trades/{instrument.wire}?by=timestamp&from={window.from_ms}"
            f"&till={window.to_ms}&sort=ASC&limit={_PAGE}"
        )

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"id":974786185,"price":"0.032462","qty":"0.3673","side":"buy",
        "timestamp":"2020-10-16T12:57:39.846Z"}]`, oldest first.
        """
        trades = [
            Trade(
                instrument.wire,
                milliseconds(row.timestamp),
                row.price,
                row.qty,
                row.side == "buy",
                row.id,
                row.id,
            )
            for row in _past.decode(body)
        ]
        past = Past(trades)
        if len(trades) >= _PAGE and max(t.ts_ms for t in trades) < window.to_ms:
            newest = max(t.order for t in trades)
            past.next = Request(
                f"{_REST}/trades/{instrument.wire}?by=id&from={newest + 1}&sort=ASC&limit={_PAGE}"
            )
        return past


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"result":{"ch":"trades","subscriptions":["ETHBTC","BTCUSDT"]},"id":1}`,
    `{"jsonrpc":"2.0","error":{"code":2001,"message":"No such symbol: X"},"id":1}`
    """
    answer = _answer.decode(frame)
    if answer.error is not None:
        error = answer.error
        wire = (
            error.message.partition("No such symbol: ")[2]
            or (error.description.partition("No such symbol: ")[2])
        )
        return (Rejection(f"{error.code} {error.message}".strip(), wire.strip()),)
    subscribed = isinstance(answer.result, _Subscribed) and answer.result.ch == "trades"
    return (Ack(),) if subscribed else NOTHING
