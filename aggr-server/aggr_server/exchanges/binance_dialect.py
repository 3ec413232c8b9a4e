"""The protocol that several venues share: streams `SYMBOL@aggTrade`, REST `aggTrades`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Event,
    Instrument,
    Leaving,
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
from aggr_server.wire import Kind

PAIR_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "DAI", "USD"),
    *("BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "GBP", "AUD"),
)
STREAMS = {"trades": "aggTrade", "liquidations": "forceOrder"}
_BATCH = 100
_PAGE = 1000
_HOUR_MS = 3_600_000
_PERPETUAL = ("PERPETUAL", "TRADIFI_PERPETUAL")

# Kinds of execution on the single-trade stream that are trades between two parties.
_REAL_EXECUTIONS = ("", "MARKET", "RPI")


class _AggTrade(msgspec.Struct, gc=False):
    e: Literal["aggTrade"]
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


class _Order(msgspec.Struct, gc=False):
    s: str
    S: Literal["BUY", "SELL"]
    p: float
    ap: float
    q: float
    z: float
    T: int


class _ForceOrder(msgspec.Struct, gc=False):
    o: _Order


class _ForceOrderFrame(msgspec.Struct, gc=False):
    data: _ForceOrder


class _PastTrade(msgspec.Struct, gc=False):
    a: int
    p: float
    q: float
    T: int
    m: bool


class _Error(msgspec.Struct):
    msg: str = ""


class _Answer(msgspec.Struct):
    id: int | str | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""


class Symbol(msgspec.Struct):
    """A row of `exchangeInfo`. Inverse contracts have a `contractSize`, and their own status."""

    symbol: str
    baseAsset: str
    quoteAsset: str
    contractType: str = ""
    status: str = ""
    contractStatus: str = ""
    contractSize: float | None = None

    @property
    def kind(self) -> Kind:
        """What a row of a futures venue is."""
        return "perp" if self.contractType in _PERPETUAL else "future"


class _ExchangeInfo(msgspec.Struct):
    symbols: list[Symbol]


# Sizes and prices travel as text: lax decoding turns them into numbers on the way.
_decode_agg_trade = msgspec.json.Decoder(_AggTrade, strict=False).decode
_agg_trade_frame = msgspec.json.Decoder(_AggTradeFrame, strict=False)
_single_trade = msgspec.json.Decoder(_SingleTrade, strict=False)
_single_trade_frame = msgspec.json.Decoder(_SingleTradeFrame, strict=False)
_force_order = msgspec.json.Decoder(_ForceOrder, strict=False)
_force_order_frame = msgspec.json.Decoder(_ForceOrderFrame, strict=False)
_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False)
_answer = msgspec.json.Decoder(_Answer)
_exchange_info = msgspec.json.Decoder(_ExchangeInfo)


def trading(body: bytes) -> list[Symbol]:
    """`{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC",
    "quoteAsset":"USDT"}]}`; futures have `"contractType":"PERPETUAL"` besides, inverse ones
    `"contractStatus":"TRADING","contractSize":100` instead of `status`.
    """
    rows = _exchange_info.decode(body).symbols
    return [row for row in rows if "TRADING" in (row.status, row.contractStatus)]


def spot(symbol: str, base: str, quote: str) -> Instrument:
    """A spot market of the channel `spot`; sizes are base coins."""
    return Instrument(
        symbol=symbol.lower(),
        wire=symbol,
        base=coin(base),
        quote=quote,
        kind="spot",
        channel="spot",
    )


class BinanceDialect(Adapter):
    """What the venues of this protocol share; a spot venue as long as nothing is overridden.

    `agg_trades`: for each channel the address of the past.
    """

    agg_trades: ClassVar[dict[str, str]]
    lifetime_s = 86_400.0

    def instruments(self, body: bytes) -> Page:
        return Page([spot(row.symbol, row.baseAsset, row.quoteAsset) for row in trading(body)])

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        return spot(wire, *split_pair(wire, PAIR_QUOTES))

    def wire_symbol(self, text: str) -> str:
        return text.upper()

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        names = [f"{s.instrument.wire.lower()}@{STREAMS[s.kind]}" for s in streams]
        return [
            Subscription(encode({"method": "SUBSCRIBE", "params": list(part), "id": number}))
            for number, part in enumerate(batches(names, _BATCH), start=1)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """Bare, or in the envelope of a combined stream:

        `{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1633998523963,"s":"BTCUSDT",
        "a":15683430,"p":"0.35280000","q":"58.00000000","f":19862790,"l":19862790,
        "T":1633998523963,"m":false,"M":true}}` (m: the buyer was the maker, so the taker sold)

        `{"e":"forceOrder","E":1698871323061,"o":{"s":"BTCUSDT","S":"BUY","o":"LIMIT","f":"IOC",
        "q":"1.437","p":"35100.81","ap":"34959.70","X":"FILLED","l":"1.437","z":"1.437",
        "T":1698871323059}}` (S: side of the forced order; z: filled, at the average price ap)

        `{"e":"serverShutdown","E":1770123456789}`
        """
        # Nearly all frames are bare trades: decoding one is faster than searching it.
        try:
            a = _decode_agg_trade(frame)
        except msgspec.DecodeError:
            return _parse_other(frame)
        return (Trade(a.s, a.T, a.p, a.q, not a.m, a.a, a.a),)

    def past(self, instrument: Instrument, window: Window) -> Request:
        """By time at first; the venue takes both ends only of an hour or less."""
        query = f"?symbol={instrument.wire}&startTime={window.from_ms}"
        if window.to_ms - window.from_ms <= _HOUR_MS:
            query += f"&endTime={window.to_ms - 1}"
        return Request(f"{self.agg_trades[instrument.channel]}{query}&limit={_PAGE}")

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,
        "T":1498793709153,"m":true,"M":true}]`, oldest first. A full page leads on by id.
        """
        rows = _past_trades.decode(body)
        trades = [Trade(instrument.wire, r.T, r.p, r.q, not r.m, r.a, r.a) for r in rows]
        if len(rows) < _PAGE or trades[-1].ts_ms >= window.to_ms:
            return Past(trades)
        query = f"?symbol={instrument.wire}&fromId={rows[-1].a + 1}&limit={_PAGE}"
        return Past(trades, Request(self.agg_trades[instrument.channel] + query))


def _parse_other(frame: bytes) -> Sequence[Event]:
    if b'"aggTrade"' in frame:
        wrapped = b'"data"' in frame
        a = _agg_trade_frame.decode(frame).data if wrapped else _decode_agg_trade(frame)
        return (Trade(a.s, a.T, a.p, a.q, not a.m, a.a, a.a),)
    if b'"trade"' in frame:
        return _parse_single(frame)
    if b'"forceOrder"' in frame:
        return _parse_forced(frame)
    if b'"id"' in frame:
        return _parse_answer(frame)
    return (Leaving("serverShutdown"),) if b'"serverShutdown"' in frame else NOTHING


def _parse_single(frame: bytes) -> Sequence[Event]:
    """`{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",
    "T":1672515782136,"m":true,"M":true}`; on futures also `"X":"MARKET"`

    Not subscribed to, but found in recordings.
    """
    wrapped = b'"data"' in frame
    t = _single_trade_frame.decode(frame).data if wrapped else _single_trade.decode(frame)
    if t.X not in _REAL_EXECUTIONS:
        return NOTHING
    return (Trade(t.s, t.T, t.p, t.q, not t.m, t.t, t.t),)


def _parse_forced(frame: bytes) -> Sequence[Event]:
    wrapped = b'"data"' in frame
    event = _force_order_frame.decode(frame).data if wrapped else _force_order.decode(frame)
    order = event.o
    price, size = order.ap or order.p, order.z or order.q
    return (Liquidation(order.s, order.T, price, size, order.S == "BUY"),)


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"result":null,"id":1}`, `{"error":{"code":2,"msg":"Invalid request"},"id":1}`"""
    answer = _answer.decode(frame)
    if answer.error is not None or answer.code is not None:
        return (Rejection((answer.error.msg if answer.error else answer.msg) or "refused"),)
    return (Ack(),) if answer.id is not None else NOTHING
