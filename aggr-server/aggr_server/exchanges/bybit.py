"""Bybit v5. https://bybit-exchange.github.io/docs/v5/websocket/public/trade"""

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
from aggr_server.wire import Kind

Category = Literal["spot", "linear", "inverse"]

_KINDS: dict[str, Kind] = {
    "": "spot",
    "LinearPerpetual": "perp",
    "InversePerpetual": "perp",
    "LinearFutures": "future",
    "InverseFutures": "future",
}
_QUOTES = ("USDT", "USDC", "PERP", "USDE", "DAI", "USD", "BTC", "ETH", "EUR", "BRL", "TRY")
_SPOT_SUFFIX = "-SPOT"
_TOPICS = {"trades": "publicTrade", "liquidations": "allLiquidation"}


class _Trade(msgspec.Struct, gc=False):
    T: int
    s: str
    S: Literal["Buy", "Sell"]
    v: float
    p: float
    i: str
    seq: int = 0


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _PastTrade(msgspec.Struct, gc=False):
    execId: str
    price: float
    size: float
    side: Literal["Buy", "Sell"]
    time: int
    seq: int = 0


class _PastResult(msgspec.Struct, gc=False):
    rows: list[_PastTrade] = msgspec.field(name="list", default=[])


class _PastTrades(msgspec.Struct, gc=False):
    retCode: int
    result: _PastResult = msgspec.field(default_factory=_PastResult)
    retMsg: str = ""


class _Liquidation(msgspec.Struct, gc=False):
    T: int
    s: str
    S: Literal["Buy", "Sell"]
    v: float
    p: float


class _Liquidations(msgspec.Struct, gc=False):
    data: list[_Liquidation]


class _Answer(msgspec.Struct):
    op: str = ""
    success: bool = True
    ret_msg: str = ""


class _Row(msgspec.Struct):
    symbol: str
    status: str
    baseCoin: str
    quoteCoin: str
    contractType: str = ""


class _Result(msgspec.Struct, frozen=True):
    category: Category | None = None
    rows: list[_Row] = msgspec.field(name="list", default=[])
    nextPageCursor: str = ""


class _Rows(msgspec.Struct):
    retCode: int
    retMsg: str = ""
    result: _Result = _Result()


_trades = msgspec.json.Decoder(_Trades, strict=False)
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)
_liquidations = msgspec.json.Decoder(_Liquidations, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)

_INSTRUMENTS = "https://api.bybit.com/v5/market/instruments-info?category={}&limit=1000"
_RECENT = "https://api.bybit.com/v5/market/recent-trade?category={}&symbol={}&limit={}"
_MOST_RECENT = {"spot": 60, "linear": 1000, "inverse": 1000}


class Bybit(Adapter):
    """Spot and linear: sizes in base coins. Inverse: in USD.

    Unconfirmed: `S` of a forced order is the side of the position. The venue's documentation says
    so; clients differ.
    """

    name = "BYBIT"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://stream.bybit.com/v5/public/spot", max_streams=200),
        "linear": Channel(
            url="wss://stream.bybit.com/v5/public/linear",
            max_streams=400,
            carries=("trades", "liquidations"),
        ),
        "inverse": Channel(
            url="wss://stream.bybit.com/v5/public/inverse",
            max_streams=400,
            carries=("trades", "liquidations"),
        ),
    }
    discovery = tuple(Request(_INSTRUMENTS.format(c)) for c in ("spot", "linear", "inverse"))
    # 500 connections in 5 minutes; 600 REST requests in 5 seconds.
    connect_spacing_s = 0.7
    rest_spacing_s = 0.05

    def instruments(self, body: bytes) -> Page:
        """`{"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT",
        "contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT"}],
        "nextPageCursor":""}}`
        """
        answer = _rows.decode(body)
        category, cursor = answer.result.category, answer.result.nextPageCursor
        if answer.retCode != 0 or category is None:
            raise msgspec.ValidationError(f"retCode {answer.retCode}: {answer.retMsg}")
        return Page(
            [
                _instrument(
                    category, row.symbol, row.baseCoin, row.quoteCoin, _KINDS[row.contractType]
                )
                for row in answer.result.rows
                if row.status == "Trading" and row.contractType in _KINDS
            ],
            Request(f"{_INSTRUMENTS.format(category)}&cursor={cursor}") if cursor else None,
        )

    def ping(self, channel: str, now_s: int) -> str:
        return '{"op":"ping"}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        topics = [f"{_TOPICS[s.kind]}.{s.instrument.wire}" for s in streams]
        return [
            Subscription(encode({"op": "subscribe", "args": list(part)}))
            for part in batches(topics, 10)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{
        "T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick",
        "i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617}]}` (S: taker)

        `{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{
        "T":1739502302929,"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}]}`

        Here S is the side of the liquidated position, so the forced order is the other way.
        """
        if b'"publicTrade.' in frame:
            return [
                Trade(t.s, t.T, t.p, t.v, t.S == "Buy", t.i, t.seq)
                for t in _trades.decode(frame).data
            ]
        if b'"allLiquidation.' in frame and b'"data"' in frame:
            return [
                Liquidation(q.s, q.T, q.p, q.v, q.S == "Sell")
                for q in _liquidations.decode(frame).data
            ]
        return _parse_answer(frame) if b'"op"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """Spot and linear share their symbols; only spot numbers its trades.

        Perpetuals: BTCUSDT, BTCPERP, inverse BTCUSD. Dated: BTC-26DEC26, inverse BTCUSDZ26.
        """
        symbol = wire.removesuffix(_SPOT_SUFFIX)
        numbered = isinstance(event, Trade) and str(event.id).isdecimal()
        pair, dash, _ = symbol.partition("-")
        base, quote = split_pair(pair, _QUOTES)
        if symbol != wire or numbered:
            return _instrument("spot", symbol, base, quote, "spot")
        if dash:
            return _instrument("linear", symbol, base, quote or "USDC", "future")
        if quote == "PERP":
            return _instrument("linear", symbol, base, "USDC", "perp")
        if quote == "" and pair[:-3].endswith("USD"):
            return _instrument("inverse", symbol, pair[:-6], "USD", "future")
        return _instrument("inverse" if quote == "USD" else "linear", symbol, base, quote, "perp")

    def past(self, instrument: Instrument, window: Window) -> Request:
        category = instrument.channel
        return Request(_RECENT.format(category, instrument.wire, _MOST_RECENT[category]))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{
        "execId":"2100000000007764263","symbol":"BTCUSDT","price":"16618.49","size":"0.00012",
        "side":"Buy","time":"1672052955758","isBlockTrade":false,"seq":"1783284617"}]}}`

        The newest trades only; of the oldest millisecond among them some may be missing.
        """
        answer = _past_trades.decode(body)
        if answer.retCode != 0:
            raise msgspec.ValidationError(f"retCode {answer.retCode}: {answer.retMsg}")
        trades = [
            Trade(instrument.wire, t.time, t.price, t.size, t.side == "Buy", t.execId, t.seq)
            for t in answer.result.rows
        ]
        return Past(trades, since_ms=min((t.ts_ms + 1 for t in trades), default=window.to_ms))


def _instrument(category: Category, wire: str, base: str, quote: str, kind: Kind) -> Instrument:
    return Instrument(
        symbol=wire + _SPOT_SUFFIX if category == "spot" else wire,
        wire=wire,
        base=coin(base),
        quote=quote,
        kind=kind,
        channel=category,
        inverse=category == "inverse",
    )


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"success":true,"ret_msg":"","conn_id":"2324d924","op":"subscribe"}`"""
    answer = _answer.decode(frame)
    if answer.op != "subscribe":
        return NOTHING
    return (Ack(),) if answer.success else (Rejection(answer.ret_msg or "refused"),)
