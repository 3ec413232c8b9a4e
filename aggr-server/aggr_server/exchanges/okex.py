"""OKX. https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel"""

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
)
from aggr_server.wire import Kind

_KINDS: dict[str, Kind] = {"SPOT": "spot", "SWAP": "perp", "FUTURES": "future"}
_INVERSE_SIZE = {"BTC": 100.0}
_LINEAR_SIZE = {"BTC": 0.01, "ETH": 0.1}
_HISTORY = "https://www.okx.com/api/v5/market/history-trades?instId={}&type={}&after={}&limit=100"
_BY_ID, _BY_TIME = 1, 2
_CLOSING = "64008"


class _Trade(msgspec.Struct, gc=False):
    instId: str
    tradeId: int
    px: float
    sz: float
    side: Literal["buy", "sell"]
    ts: int


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _PastTrades(msgspec.Struct, gc=False):
    code: str
    data: list[_Trade]
    msg: str = ""


class _Detail(msgspec.Struct, gc=False):
    side: Literal["buy", "sell"]
    bkPx: float
    sz: float
    ts: int


class _Liquidated(msgspec.Struct, gc=False):
    instId: str
    details: list[_Detail]


class _Liquidations(msgspec.Struct, gc=False):
    data: list[_Liquidated]


class _Argument(msgspec.Struct):
    instId: str = ""


class _Answer(msgspec.Struct):
    event: str = ""
    msg: str = ""
    code: str = ""
    arg: _Argument | None = None


class _Row(msgspec.Struct):
    instId: str
    instType: Literal["SPOT", "SWAP", "FUTURES"]
    state: str
    baseCcy: str = ""
    quoteCcy: str = ""
    uly: str = ""
    ctType: str = ""
    ctVal: float | Literal[""] = ""
    ctMult: float | Literal[""] = ""


class _Rows(msgspec.Struct):
    code: str
    data: list[_Row]
    msg: str = ""


_decode_trades = msgspec.json.Decoder(_Trades, strict=False).decode
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)
_liquidations = msgspec.json.Decoder(_Liquidations, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows, strict=False)


class Okex(Adapter):
    """Spot: sizes in base coins. Contracts: linear of `ctVal` coins, inverse of `ctVal` USD."""

    name = "OKEX"
    aliases = ("OKX",)
    channels = {  # noqa: RUF012
        "public": Channel(
            url="wss://ws.okx.com:8443/ws/v5/public",
            max_streams=200,
            carries=("trades", "liquidations"),
        )
    }
    discovery = (
        Request("https://www.okx.com/api/v5/public/instruments?instType=SPOT"),
        Request("https://www.okx.com/api/v5/public/instruments?instType=SWAP"),
        Request("https://www.okx.com/api/v5/public/instruments?instType=FUTURES"),
    )
    # 3 connections a second; 480 subscriptions an hour on each; 20 pages of the past in 2 seconds.
    connect_spacing_s = 0.4
    rest_spacing_s = 0.12

    def instruments(self, body: bytes) -> Page:
        """`{"code":"0","data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT",
        "ctType":"linear","ctVal":"0.01","ctMult":"1","state":"live"}]}`
        """
        answer = _rows.decode(body)
        if answer.code != "0":
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        return Page([_instrument(row) for row in answer.data if row.state == "live"])

    def ping(self, channel: str, now_s: int) -> str:
        return "ping"

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        args = [
            {"channel": "trades", "instId": s.instrument.wire}
            for s in streams
            if s.kind == "trades"
        ]
        kinds = {s.instrument.kind for s in streams if s.kind == "liquidations"}
        args += [
            {"channel": "liquidation-orders", "instType": type}
            for type, kind in _KINDS.items()
            if kind in kinds
        ]
        return [
            Subscription(encode({"op": "subscribe", "args": list(part)}), acks=len(part))
            for part in batches(args, 50)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"arg":{"channel":"trades","instId":"UNI-USD-SWAP"},"data":[{"instId":"UNI-USD-SWAP",
        "tradeId":"12883020","px":"5.123","sz":"100","side":"sell","ts":"1652459215150"}]}`

        `{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkPx":
        "0.007831","posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}],
        "instId":"IOST-USDT-SWAP","instType":"SWAP","uly":"IOST-USDT"}]}` (side: forced order)
        """
        # Nearly all frames are single trades: decoding one is faster than searching it.
        try:
            rows = _decode_trades(frame).data
        except msgspec.DecodeError:
            return _parse_other(frame)
        if len(rows) == 1:
            t = rows[0]
            return (Trade(t.instId, t.ts, t.px, t.sz, t.side == "buy", t.tradeId, t.tradeId),)
        return [_trade(row) for row in rows]

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, quote, term = (*wire.split("-"), "", "", "")[:3]
        inverse = bool(term) and quote == "USD"
        size: float | None = 1.0
        if term:
            size = _INVERSE_SIZE.get(base, 10.0) if inverse else _LINEAR_SIZE.get(base)
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if term == "SWAP" else "future" if term else "spot",
            channel="public",
            inverse=inverse,
            contract_size=size,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_HISTORY.format(instrument.wire, _BY_TIME, window.to_ms))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"sell","sz":"0.00001",
        "px":"29963.2","tradeId":"242720720","ts":"1654161646974"}]}`, newest first

        Only the first page is asked for by time: trades of one millisecond may be more than fit.
        """
        answer = _past_trades.decode(body)
        if answer.code != "0":
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        trades = [_trade(row) for row in answer.data]
        if not trades or min(t.ts_ms for t in trades) < window.from_ms:
            return Past(trades)
        oldest = min(t.order for t in trades)
        return Past(trades, Request(_HISTORY.format(instrument.wire, _BY_ID, oldest)))


def _parse_other(frame: bytes) -> Sequence[Event]:
    if b'"data"' in frame:
        if b'"trades"' in frame:
            return [_trade(row) for row in _decode_trades(frame).data]
        if b'"liquidation-orders"' in frame:
            return [
                Liquidation(row.instId, d.ts, d.bkPx, d.sz, d.side == "buy")
                for row in _liquidations.decode(frame).data
                for d in row.details
            ]
        return NOTHING
    return _parse_answer(frame) if b'"event"' in frame else NOTHING


def _trade(t: _Trade) -> Trade:
    return Trade(t.instId, t.ts, t.px, t.sz, t.side == "buy", t.tradeId, t.tradeId)


def _instrument(row: _Row) -> Instrument:
    base, _, quote = row.uly.partition("-")
    size: float | None = 1.0
    if row.instType != "SPOT":
        size = row.ctVal * (row.ctMult or 1.0) if row.ctVal else None
    return Instrument(
        symbol=row.instId,
        wire=row.instId,
        base=coin(row.baseCcy or base),
        quote=row.quoteCcy or quote,
        kind=_KINDS[row.instType],
        channel="public",
        inverse=row.ctType == "inverse",
        contract_size=size,
    )


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a4d3ae55"}`,
    `{"event":"error","code":"60018","msg":"Wrong URL or channel:trades,instId:X doesn't exist."}`,
    `{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service
    upgrade. Please reconnect.","connId":"a4d3ae55"}`
    """
    answer = _answer.decode(frame)
    if answer.event == "subscribe":
        return (Ack(),)
    if answer.event == "error":
        wire = answer.msg.partition("instId:")[2].partition(" ")[0]
        return (Rejection(f"{answer.code} {answer.msg}".strip(), wire),)
    if answer.event == "notice" and answer.code == _CLOSING:
        return (Leaving(answer.msg),)
    return NOTHING
