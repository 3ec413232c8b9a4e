"""Binance spot. https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams"""

from __future__ import annotations

from collections.abc import Sequence

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

PAIR_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "DAI", "USD"),
    *("BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "GBP", "AUD"),
)


class _AggTrade(msgspec.Struct, gc=False):
    s: str
    a: int
    p: float
    q: float
    T: int
    m: bool


class _AggTradeFrame(msgspec.Struct, gc=False):
    data: _AggTrade


class _SingleTrade(msgspec.Struct, gc=False):
    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool
    X: str = ""


class _SingleTradeFrame(msgspec.Struct, gc=False):
    data: _SingleTrade


class _PastTrade(msgspec.Struct, gc=False):
    a: int
    p: float
    q: float
    T: int
    m: bool


class _Error(msgspec.Struct):
    msg: str = ""


class _Answer(msgspec.Struct):
    """`{"result":null,"id":1}`, `{"error":{"code":2,"msg":"Invalid request"},"id":1}`"""

    id: int | str | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""


# Sizes and prices travel as text: lax decoding turns them into numbers on the way.
_agg_trade = msgspec.json.Decoder(_AggTrade, strict=False)
_agg_trade_frame = msgspec.json.Decoder(_AggTradeFrame, strict=False)
_single_trade = msgspec.json.Decoder(_SingleTrade, strict=False)
_single_trade_frame = msgspec.json.Decoder(_SingleTradeFrame, strict=False)
_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False)
_answer = msgspec.json.Decoder(_Answer)

# Kinds of execution on the single-trade stream that are no trades between two parties.
_REAL_EXECUTIONS = ("", "MARKET", "RPI")
_PAGE = 1000
_HOUR_MS = 3_600_000


def parse_trade(frame: bytes) -> Sequence[Event]:
    """Trades and answers of any venue that speaks this dialect, bare or in a stream envelope.

    `{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"BTCUSDT",
    "a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,
    "T":1633998523963,"m":false,"M":true}}` (m: the buyer was the maker, so the taker sold)
    """
    if b'"aggTrade"' in frame:
        wrapped = b'"data"' in frame
        a = _agg_trade_frame.decode(frame).data if wrapped else _agg_trade.decode(frame)
        return (Trade(a.s, a.T, a.p, a.q, not a.m, a.a, a.a),)
    if b'"trade"' in frame:
        wrapped = b'"data"' in frame
        t = _single_trade_frame.decode(frame).data if wrapped else _single_trade.decode(frame)
        if t.X in _REAL_EXECUTIONS:
            return (Trade(t.s, t.T, t.p, t.q, not t.m, t.t, t.t),)
        return NOTHING
    if b'"id"' in frame:
        return _parse_answer(frame)
    return NOTHING


def _parse_answer(frame: bytes) -> Sequence[Event]:
    answer = _answer.decode(frame)
    if answer.error is not None or answer.code is not None:
        return (Rejection((answer.error.msg if answer.error else answer.msg) or "refused"),)
    return (Ack(),) if answer.id is not None else NOTHING


def subscribe(streams: Sequence[str], size: int) -> list[Subscription]:
    """`{"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}`, `size` streams in each."""
    return [
        Subscription(encode({"method": "SUBSCRIBE", "params": list(part), "id": number}))
        for number, part in enumerate(batches(streams, size), start=1)
    ]


def past(url: str, instrument: Instrument, window: Window) -> Request:
    """The first page of `aggTrades` at `url`, by time; both ends only of an hour or less."""
    query = f"{url}?symbol={instrument.wire}&startTime={window.from_ms}"
    if window.to_ms - window.from_ms <= _HOUR_MS:
        query += f"&endTime={window.to_ms - 1}"
    return Request(f"{query}&limit={_PAGE}")


def read_past(url: str, instrument: Instrument, window: Window, body: bytes) -> Past:
    """`[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,
    "m":true,"M":true}]`, oldest first. What follows a full page is asked for by id.
    """
    rows = _past_trades.decode(body)
    trades = [Trade(instrument.wire, r.T, r.p, r.q, not r.m, r.a, r.a) for r in rows]
    if len(rows) < _PAGE or trades[-1].ts_ms >= window.to_ms:
        return Past(trades)
    after = rows[-1].a + 1
    return Past(trades, Request(f"{url}?symbol={instrument.wire}&fromId={after}&limit={_PAGE}"))


class _Symbol(msgspec.Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


_exchange_info = msgspec.json.Decoder(_ExchangeInfo)

_AGG_TRADES = "https://api.binance.com/api/v3/aggTrades"


class Binance(Adapter):
    """Spot; sizes in base coins."""

    name = "BINANCE"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://stream.binance.com:9443/ws", max_streams=200)
    }
    discovery = (Request("https://api.binance.com/api/v3/exchangeInfo?permissions=SPOT"),)
    connect_spacing_s = 1.1
    message_spacing_s = 0.25
    lifetime_s = 86_400.0
    gapless = True
    recordings = ("BINANCE-SPOT",)

    def instruments(self, body: bytes) -> Page:
        """`{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC",..}]}`"""
        return Page(
            [
                Instrument(
                    symbol=row.symbol.lower(),
                    wire=row.symbol,
                    base=coin(row.baseAsset),
                    quote=row.quoteAsset,
                    kind="spot",
                    channel="spot",
                )
                for row in _exchange_info.decode(body).symbols
                if row.status == "TRADING"
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return subscribe([f"{s.instrument.symbol}@aggTrade" for s in streams], 100)

    def parse(self, frame: bytes) -> Sequence[Event]:
        return parse_trade(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, quote = split_pair(wire, PAIR_QUOTES)
        return Instrument(
            symbol=wire.lower(),
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="spot",
            channel="spot",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return past(_AGG_TRADES, instrument, window)

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        return read_past(_AGG_TRADES, instrument, window, body)

    def wire_symbol(self, text: str) -> str:
        return text.upper()
