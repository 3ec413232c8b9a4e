"""Bitget spot and futures. https://www.bitget.com/api-doc/uta/websocket/public/New-Trades-Channel"""

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
    StreamKind,
    Subscription,
    Trade,
    Window,
    batches,
    coin,
    encode,
    split_pair,
)
from aggr_server.wire import Kind

# Also the names of the channels: symbols are unique within one of them only.
Family = Literal["spot", "usdt-futures", "usdc-futures", "coin-futures"]

_FAMILIES: dict[str, Family] = {
    "SPOT": "spot",
    "USDT-FUTURES": "usdt-futures",
    "USDC-FUTURES": "usdc-futures",
    "COIN-FUTURES": "coin-futures",
}
_SPOT_SUFFIX = "-SPOT"
_COIN_SUFFIX = "_CM"
_QUOTES = ("USDT", "USDC", "PERP", "USD1", "USDE", "USD", "BTC", "ETH", "EUR", "BRL")
_BATCH = 20
_INSTRUMENTS = "https://api.bitget.com/api/v3/market/instruments?category={}"
_PAST = "https://api.bitget.com/api/v2/{}/market/fills-history?symbol={}&startTime={}&endTime={}"
_PAGE = 1000


class _Argument(msgspec.Struct, gc=False):
    instType: Family
    topic: str = ""
    symbol: str = ""


class _Trade(msgspec.Struct, gc=False):
    i: int
    S: Literal["buy", "sell"]
    T: int
    v: float
    p: float | None = None
    P: float | None = None


class _Trades(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_Trade]
    action: str = ""


class _Forced(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: float
    amount: float
    ts: int


class _Liquidations(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_Forced]
    action: str = ""


class _AnswerArgument(msgspec.Struct, frozen=True):
    instType: str = ""
    topic: str = ""
    symbol: str = ""


class _Answer(msgspec.Struct):
    event: str = ""
    code: int | str = ""
    msg: str = ""
    arg: _AnswerArgument = _AnswerArgument()


class _Row(msgspec.Struct):
    symbol: str
    category: str
    baseCoin: str
    quoteCoin: str
    status: str
    type: str = ""


class _Rows(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[_Row] = []


class _PastTrade(msgspec.Struct, gc=False):
    tradeId: int
    price: float
    size: float
    side: Literal["buy", "sell", "Buy", "Sell"]
    ts: int


class _PastTrades(msgspec.Struct, gc=False):
    code: str
    msg: str = ""
    data: list[_PastTrade] = []


_trades = msgspec.json.Decoder(_Trades, strict=False)
_liquidations = msgspec.json.Decoder(_Liquidations, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)


def _channel(*carries: StreamKind) -> Channel:
    # The documentation advises fewer than 50 subscriptions on a connection.
    return Channel(url="wss://ws.bitget.com/v3/ws/public", max_streams=48, carries=carries)


class Bitget(Adapter):
    """Spot and linear: sizes in base coins. COIN-M: in USD.

    Unconfirmed: the names (`BTCUSD_CM`) and the unit of COIN-M; all of the forced orders.
    """

    name = "BITGET"
    channels = {  # noqa: RUF012
        "spot": _channel("trades"),
        "usdt-futures": _channel("trades", "liquidations"),
        "usdc-futures": _channel("trades", "liquidations"),
        "coin-futures": _channel("trades", "liquidations"),
    }
    discovery = tuple(Request(_INSTRUMENTS.format(category)) for category in _FAMILIES)
    # 10 messages a second; a page of the past weighs 2 of 20 for a second.
    message_spacing_s = 0.15
    rest_spacing_s = 0.12
    ping_interval_s = 25.0

    def instruments(self, body: bytes) -> Page:
        """`{"code":"00000","msg":"success","data":[{"symbol":"BTCPERP","category":"USDC-FUTURES",
        "baseCoin":"BTC","quoteCoin":"USDC","type":"perpetual","status":"online"}]}`
        """
        answer = _rows.decode(body)
        if answer.code != "00000":
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        return Page(
            [
                _instrument(family, row.symbol, row.baseCoin, row.quoteCoin, _kind(family, row))
                for row in answer.data
                if row.status == "online" and (family := _FAMILIES.get(row.category))
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return "ping"

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """One argument for each instrument; forced orders come of all instruments at once."""
        args = [
            {"instType": channel, "topic": "publicTrade", "symbol": s.instrument.wire}
            for s in streams
            if s.kind == "trades"
        ]
        if any(s.kind == "liquidations" for s in streams):
            args.append({"instType": channel, "topic": "liquidation"})
        return [
            Subscription(encode({"op": "subscribe", "args": list(part)}), acks=len(part))
            for part in batches(args, _BATCH)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        if b'"publicTrade"' in frame and b'"data"' in frame:
            return _parse_trades(frame)
        if b'"liquidation"' in frame and b'"data"' in frame:
            return _parse_liquidations(frame)
        return _parse_answer(frame) if b'"event"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """Spot and linear share their symbols; ids of spot trades are kept as text."""
        symbol = wire.removesuffix(_SPOT_SUFFIX)
        base, quote = split_pair(symbol.removesuffix(_COIN_SUFFIX), _QUOTES)
        if symbol != wire or (isinstance(event, Trade) and isinstance(event.id, str)):
            return _instrument("spot", symbol, base, quote, "spot")
        if quote == "PERP":
            return _instrument("usdc-futures", symbol, base, "USDC", "perp")
        return _instrument(
            "coin-futures" if quote == "USD" else "usdt-futures",
            *(symbol, base, quote, "perp" if quote else "future"),
        )

    def past(self, instrument: Instrument, window: Window) -> Request | None:
        """Not of COIN-M: in which unit its sizes are told is not documented."""
        return None if instrument.inverse else Request(_ask(instrument, window))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"code":"00000","msg":"success","requestTime":1692073522689,"data":[{"tradeId":
        "1075199767891652609","price":"29376.5","size":"6.035","side":"Buy",
        "ts":"1692073521000","symbol":"BTCUSDT"}]}`, newest first
        """
        answer = _past_trades.decode(body)
        if answer.code != "00000":
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        spot = instrument.channel == "spot"
        trades = [
            Trade(
                instrument.wire,
                row.ts,
                row.price,
                row.size,
                row.side in ("buy", "Buy"),
                str(row.tradeId) if spot else row.tradeId,
                row.tradeId,
            )
            for row in answer.data
        ]
        if len(trades) < _PAGE:
            return Past(trades)
        oldest = min(t.order for t in trades)
        return Past(trades, Request(f"{_ask(instrument, window)}&idLessThan={oldest}"))


def _ask(instrument: Instrument, window: Window) -> str:
    product = "spot" if instrument.channel == "spot" else "mix"
    url = _PAST.format(product, instrument.wire, window.from_ms, window.to_ms)
    if product == "mix":
        url += f"&productType={instrument.channel}"
    return f"{url}&limit={_PAGE}"


def _kind(family: Family, row: _Row) -> Kind:
    if family == "spot":
        return "spot"
    return "perp" if row.type == "perpetual" else "future"


def _instrument(family: Family, wire: str, base: str, quote: str, kind: Kind) -> Instrument:
    symbol = wire + _SPOT_SUFFIX if family == "spot" else wire
    if family == "coin-futures":
        symbol = wire.removesuffix(_COIN_SUFFIX)
        wire = symbol + _COIN_SUFFIX
    return Instrument(
        symbol=symbol,
        wire=wire,
        base=coin(base),
        quote=quote,
        kind=kind,
        channel=family,
        inverse=family == "coin-futures",
    )


def _parse_trades(frame: bytes) -> Sequence[Event]:
    """`{"data":[{"p":"100000","S":"buy","T":"1736348770627","v":"0.00118",
    "i":"1260903622036942849","L":"1234568787787878787","isRPI":"no"}],"arg":{"instType":
    "usdt-futures","symbol":"BTCUSDT","topic":"publicTrade"},"action":"update",
    "ts":1736371104297}`

    Newest first. Frames with the action `snapshot` are old trades. Some show the price as `P`.
    """
    message = _trades.decode(frame)
    if message.action != "update":
        return NOTHING
    wire, spot = message.arg.symbol, message.arg.instType == "spot"
    found = []
    for t in reversed(message.data):
        price = t.P if t.p is None else t.p
        if price is None:
            raise msgspec.ValidationError("a trade without price")
        found.append(Trade(wire, t.T, price, t.v, t.S == "buy", str(t.i) if spot else t.i, t.i))
    return found


def _parse_liquidations(frame: bytes) -> Sequence[Event]:
    """`{"data":[{"symbol":"BTCUSDT","side":"buy","price":"89000","amount":"37.722858",
    "ts":"1736371332162"}],"arg":{"instType":"usdt-futures","topic":"liquidation"},
    "action":"update","ts":1736371332162}`

    side is that of the liquidated position, so the forced order is the other way; amount is in
    the quote currency. Comes every 20 s.
    """
    message = _liquidations.decode(frame)
    if message.action != "update":
        return NOTHING
    inverse = message.arg.instType == "coin-futures"
    return [
        Liquidation(
            q.symbol.removesuffix(_COIN_SUFFIX) + _COIN_SUFFIX if inverse else q.symbol,
            q.ts,
            q.price,
            q.amount if inverse else q.amount / q.price if q.price > 0 else 0.0,
            q.side == "sell",
        )
        for q in reversed(message.data)
    ]


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"event":"subscribe","arg":{"instType":"spot","topic":"publicTrade","symbol":"BTCUSDT"}}`,
    `{"event":"error","arg":{"instType":"spot","topic":"publicTrade","symbol":"X"},"code":30001,
    "msg":"instType:spot,topic:publicTrade,symbol:X doesn't exist"}`
    """
    answer = _answer.decode(frame)
    if answer.event == "subscribe":
        return (Ack(),)
    if answer.event != "error":
        return NOTHING
    kind: StreamKind = "liquidations" if answer.arg.topic == "liquidation" else "trades"
    return (Rejection(f"{answer.code} {answer.msg}".strip(), answer.arg.symbol, kind),)
