"""Poloniex. https://api-docs.poloniex.com/spot/websocket/market-data#trades"""

from __future__ import annotations

import re
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
)

_REST = "https://api.poloniex.com"
_PAGE = 1000
_PERP = "_PERP"
_WIRE = re.compile(r"\b[A-Z0-9]+_[A-Z0-9]+(?:_PERP)?\b")


class _Trade(msgspec.Struct, gc=False):
    id: int
    price: float
    quantity: float
    takerSide: Literal["buy", "sell", "BUY", "SELL"]
    createTime: int
    symbol: str = ""


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Fill(msgspec.Struct, gc=False):
    """A trade of contracts."""

    id: int
    px: float
    qty: float
    side: Literal["buy", "sell", "BUY", "SELL"]
    cT: int
    s: str = ""


class _Fills(msgspec.Struct, gc=False):
    data: list[_Fill]


class _Message(msgspec.Struct):
    event: str = ""
    channel: str = ""
    message: str = ""


class _Pair(msgspec.Struct):
    symbol: str
    baseCurrencyName: str
    quoteCurrencyName: str
    state: str


class _Contract(msgspec.Struct):
    symbol: str
    bCcy: str
    qCcy: str
    ctVal: float
    ctType: str
    status: str


class _Contracts(msgspec.Struct):
    data: list[_Contract]


_trades = msgspec.json.Decoder(_Trades, strict=False)
_fills = msgspec.json.Decoder(_Fills, strict=False)
_message = msgspec.json.Decoder(_Message)
_pairs = msgspec.json.Decoder(list[_Pair])
_contracts = msgspec.json.Decoder(_Contracts, strict=False)
_past_trades = msgspec.json.Decoder(list[_Trade], strict=False)


class Poloniex(Adapter):
    """Spot: sizes in base coins. Contracts: linear, of `ctVal` coins.

    Unconfirmed: all of the contracts' websocket; its fields are taken from the REST interface.
    """

    name = "POLONIEX"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://ws.poloniex.com/ws/public", max_streams=200),
        "futures": Channel(url="wss://ws.poloniex.com/ws/v3/public", max_streams=200),
    }
    discovery = (
        Request(f"{_REST}/markets"),
        Request(f"{_REST}/v3/market/allInstruments"),
    )

    def instruments(self, body: bytes) -> Page:
        """`[{"symbol":"BTC_USDT","baseCurrencyName":"BTC","quoteCurrencyName":"USDT",
        "state":"NORMAL"}]`, `{"code":200,"data":[{"symbol":"BTC_USDT_PERP","bCcy":"BTC",
        "qCcy":"USDT","ctVal":"0.001","ctType":"LINEAR","status":"OPEN"}]}`
        """
        if body.lstrip().startswith(b"["):
            return Page(
                [
                    Instrument(
                        symbol=row.symbol,
                        wire=row.symbol,
                        base=coin(row.baseCurrencyName),
                        quote=row.quoteCurrencyName,
                        kind="spot",
                        channel="spot",
                    )
                    for row in _pairs.decode(body)
                    if row.state == "NORMAL"
                ]
            )
        return Page(
            [
                Instrument(
                    symbol=row.symbol,
                    wire=row.symbol,
                    base=coin(row.bCcy),
                    quote=row.qCcy,
                    kind="perp" if row.symbol.endswith(_PERP) else "future",
                    channel="futures",
                    contract_size=row.ctVal,
                )
                for row in _contracts.decode(body).data
                if row.status == "OPEN" and row.ctType == "LINEAR"
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return '{"event":"ping"}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        wires = [s.instrument.wire for s in streams]
        return [
            Subscription(
                encode({"event": "subscribe", "channel": ["trades"], "symbols": list(part)})
            )
            for part in batches(wires, 50)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"channel":"trades","data":[{"symbol":"BTC_USDT","amount":"248.3516391","quantity":
        "0.01149","takerSide":"sell","createTime":1661123520381,"price":"21614.59","id":"60184114",
        "ts":1661123520386}]}` (quantity in base coins, amount in quote)

        `{"channel":"trades","data":[{"id":"105807320","s":"BTC_USDT_PERP","px":"84383.93","qty":
        "1","amt":"84.38393","side":"sell","cT":1740777074704,"ts":1740777074712}]}`
        """
        if b'"trades"' in frame and b'"data"' in frame:
            if b'"takerSide"' in frame:
                return _sorted([_trade(row.symbol, row) for row in _trades.decode(frame).data])
            return _sorted([_fill(row.s, row) for row in _fills.decode(frame).data])
        return _parse_message(frame) if b'"event"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, quote, term = (*wire.split("_"), "", "", "")[:3]
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if term else "spot",
            channel="futures" if term else "spot",
            contract_size=None if term else 1.0,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        if instrument.channel == "futures":
            return Request(f"{_REST}/v3/market/trades?symbol={instrument.wire}&limit={_PAGE}")
        return Request(f"{_REST}/markets/{instrument.wire}/trades?limit={_PAGE}")

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """The newest thousand trades: `[{"id":"60014521","price":"23162.94","quantity":"0.00009",
        "amount":"2.0846646","takerSide":"SELL","ts":1659684602042,"createTime":1659684602036}]`

        `{"code":"200","msg":"Success","data":[{"id":"105807320","side":"sell","px":"84383.93",
        "qty":"1","amt":"84.38393","cT":"1740777074704"}]}`
        """
        wire = instrument.wire
        if instrument.channel == "futures":
            trades = [_fill(wire, row) for row in _fills.decode(body).data]
        else:
            trades = [_trade(wire, row) for row in _past_trades.decode(body)]
        if len(trades) < _PAGE:
            return Past(trades)
        # Trades of the same millisecond as the oldest one may have been cut off.
        return Past(trades, since_ms=min(t.ts_ms for t in trades) + 1)


def _trade(wire: str, row: _Trade) -> Trade:
    bought = row.takerSide in ("buy", "BUY")
    return Trade(wire, row.createTime, row.price, row.quantity, bought, row.id, row.id)


def _fill(wire: str, row: _Fill) -> Trade:
    bought = row.side in ("buy", "BUY")
    return Trade(wire, row.cT, row.px, row.qty, bought, row.id, row.id)


def _sorted(trades: list[Trade]) -> list[Trade]:
    if len(trades) > 1:
        trades.sort(key=lambda trade: trade.order)
    return trades


def _parse_message(frame: bytes) -> Sequence[Event]:
    """`{"event":"subscribe","channel":"trades","symbols":["BTC_USDT"]}`, `{"event":"pong"}`,
    `{"event":"error","message":"Invalid symbol value [\\"NO_USDT\\"]"}`

    Unconfirmed: that the text of an error names the market.
    """
    message = _message.decode(frame)
    if message.event == "subscribe" and message.channel == "trades":
        return (Ack(),)
    if message.event == "error":
        found = _WIRE.findall(message.message)
        wire = found[0] if len(found) == 1 else ""
        return (Rejection(message.message or "refused", wire),)
    return NOTHING
