"""Kraken, spot and futures. https://docs.kraken.com/api/docs/websocket-v2/trade/"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal
from urllib.parse import quote

import msgspec

from aggr_server.exchanges import kraken_futures as futures
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
)

_TRADES = "https://api.kraken.com/0/public/Trades?pair={}&since={}&count={}"
_TRADES_COUNT = 1000
_PAIRS_PER_MESSAGE = 50
_LATEST_S = 10_000_000_000
# Market ids keep the names of the older protocol.
_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
_NEW_NAMES = {old: new for new, old in _OLD_NAMES.items()}


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: float
    qty: float
    trade_id: int
    timestamp: Moment


class _Trades(msgspec.Struct, gc=False):
    channel: str
    type: str
    data: list[_Trade]


class _Answer(msgspec.Struct):
    method: str = ""
    success: bool = True
    error: str = ""
    symbol: str = ""


class _PastTrade(msgspec.Struct, array_like=True, gc=False):
    price: float
    volume: float
    time: Decimal
    side: Literal["b", "s"]
    kind: str
    other: str
    trade_id: int


class _PastTrades(msgspec.Struct):
    error: list[str]
    result: dict[str, list[_PastTrade] | str] = {}


class _Pair(msgspec.Struct):
    status: str = "online"
    wsname: str = ""


class _Pairs(msgspec.Struct):
    error: list[str]
    result: dict[str, _Pair] = {}


_trades = msgspec.json.Decoder(_Trades)
_answer = msgspec.json.Decoder(_Answer)
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)
_pairs = msgspec.json.Decoder(_Pairs)


class Kraken(Adapter):
    """Spot and PF/FF contracts: sizes in base coins. PI/FI contracts: in dollars.

    Unconfirmed: how many subscriptions one connection may carry.
    """

    name = "KRAKEN"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://ws.kraken.com/v2", max_streams=200),
        futures.CHANNEL: Channel(
            url="wss://futures.kraken.com/ws/v1",
            max_streams=200,
            carries=("trades", "liquidations"),
        ),
    }
    discovery = (Request("https://api.kraken.com/0/public/AssetPairs"), futures.INSTRUMENTS)
    rest_spacing_s = 1.0
    recordings = ("KRAKEN_FUTURES",)

    def instruments(self, body: bytes) -> Page:
        """`{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD",
        "base":"XXBT","quote":"ZUSD","status":"online"}}}`
        """
        if b'"instruments"' in body:
            return futures.instruments(body)
        answer = _pairs.decode(body)
        if answer.error:
            raise msgspec.ValidationError(", ".join(answer.error))
        pairs = answer.result.values()
        return Page([_spot(p.wsname) for p in pairs if p.status == "online" and p.wsname])

    def ping(self, channel: str, now_s: int) -> str:
        return '{"method":"ping"}' if channel == "spot" else ""

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        if channel == futures.CHANNEL:
            return futures.subscriptions(streams)
        return [
            Subscription(encode({"method": "subscribe", "params": params}), acks=len(part))
            for part in batches([s.instrument.wire for s in streams], _PAIRS_PER_MESSAGE)
            for params in [{"channel": "trade", "symbol": list(part), "snapshot": False}]
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell",
        "price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,
        "timestamp":"2023-09-25T07:49:37.708706Z"}]}` (side: of the taker)

        A frame of the type `snapshot` holds the last fifty trades.
        """
        if b'"channel"' in frame and b'"method"' not in frame:
            if b'"trade"' not in frame:
                return NOTHING
            trades = _trades.decode(frame)
            if trades.type == "snapshot":
                return NOTHING
            return [
                Trade(
                    t.symbol,
                    milliseconds(t.timestamp),
                    t.price,
                    t.qty,
                    t.side == "buy",
                    t.trade_id,
                    t.trade_id,
                )
                for t in trades.data
            ]
        if b'"method"' in frame:
            return _parse_answer(frame)
        if frame.startswith(b"["):
            raise msgspec.ValidationError("a frame of protocol v1; v2 is read")
        return futures.parse(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        return futures.assume(wire) if "_" in wire else _spot(wire)

    def past(self, instrument: Instrument, window: Window) -> Request:
        if instrument.channel == futures.CHANNEL:
            return futures.past(instrument, window)
        # The cursor is the time of the last trade known, which is not told again.
        return _after(instrument, f"{window.from_ms * 1_000_000 - 1}")

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b",
        "m","",61044952]],"last":"1688671969993150842"}}` (oldest first, seconds)
        """
        if instrument.channel == futures.CHANNEL:
            return futures.read_past(instrument, window, body)
        answer = _past_trades.decode(body)
        if answer.error:
            raise msgspec.ValidationError(", ".join(answer.error))
        last = answer.result.get("last")
        rows = [row for v in answer.result.values() if not isinstance(v, str) for row in v]
        trades = [
            Trade(
                instrument.wire,
                _milliseconds(row.time),
                row.price,
                row.volume,
                row.side == "b",
                row.trade_id,
                row.trade_id,
            )
            for row in rows
        ]
        more = len(trades) >= _TRADES_COUNT and trades[-1].ts_ms < window.to_ms
        return Past(trades, _after(instrument, last) if more and isinstance(last, str) else None)

    def wire_symbol(self, text: str) -> str:
        return text.upper() if text[:3].lower() in ("pi_", "fi_", "pf_", "ff_") else text


def _spot(name: str) -> Instrument:
    """The market `XBT/USD`, on the wire `BTC/USD`, by either name."""
    base, _, money = name.partition("/")
    return Instrument(
        symbol=f"{_OLD_NAMES.get(base, base)}/{_OLD_NAMES.get(money, money)}",
        wire=f"{_NEW_NAMES.get(base, base)}/{_NEW_NAMES.get(money, money)}",
        base=coin(base),
        quote=_NEW_NAMES.get(money, money),
        kind="spot",
        channel="spot",
    )


def _after(instrument: Instrument, cursor: str) -> Request:
    pair = instrument.symbol.replace("/", "")
    return Request(_TRADES.format(quote(pair), quote(cursor), _TRADES_COUNT))


def _milliseconds(seconds: Decimal) -> int:
    if not (seconds.is_finite() and 0 <= seconds < _LATEST_S):
        raise msgspec.ValidationError(f"{seconds} is no time")
    return int(seconds * 1000)


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"method":"subscribe","result":{"channel":"trade","snapshot":false,"symbol":"BTC/USD"},
    "success":true,"time_in":"2023-09-25T09:04:31.742599Z"}` (one for each symbol),
    `{"error":"Currency pair not supported FOO/USD","method":"subscribe","success":false,
    "symbol":"FOO/USD"}`
    """
    answer = _answer.decode(frame)
    if answer.method != "subscribe":
        return NOTHING
    return (Ack(),) if answer.success else (Rejection(answer.error or "refused", answer.symbol),)
