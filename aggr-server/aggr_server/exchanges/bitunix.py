"""Bitunix futures.

Unconfirmed: everything here. It follows what public collectors of this venue read; no frame of it
was at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Adapter,
    Channel,
    Event,
    Instrument,
    Liquidation,
    Moment,
    Page,
    Parse,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    batches,
    coin,
    encode,
    milliseconds,
    split_pair,
)

_QUOTES = ("USDT", "USDC", "USD")


class _Trade(msgspec.Struct, gc=False):
    t: Moment | int
    p: float
    v: float
    s: Literal["buy", "sell"]


class _Trades(msgspec.Struct, gc=False):
    symbol: str
    data: list[_Trade]


class _Answer(msgspec.Struct):
    event: str = ""
    msg: str = ""


class _Pair(msgspec.Struct):
    symbol: str
    base: str
    quote: str
    symbolStatus: str = "OPEN"


class _Pairs(msgspec.Struct):
    code: int
    data: list[_Pair] | None = None
    msg: str = ""


_trades = msgspec.json.Decoder(_Trades, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_pairs = msgspec.json.Decoder(_Pairs)


class Bitunix(Adapter):
    """Linear perpetuals; sizes in base coins. The venue gives its trades no ids."""

    name = "BITUNIX"
    channels = {  # noqa: RUF012
        "public": Channel(url="wss://fapi.bitunix.com/public/", max_streams=100)
    }
    discovery = (Request("https://fapi.bitunix.com/api/v1/futures/market/trading_pairs"),)

    def instruments(self, body: bytes) -> Page:
        """`{"code":0,"data":[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT",
        "symbolStatus":"OPEN"}],"msg":"Success"}`
        """
        answer = _pairs.decode(body)
        if answer.code != 0 or answer.data is None:
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        return Page(
            [
                _instrument(row.symbol, row.base, row.quote)
                for row in answer.data
                if row.symbolStatus == "OPEN"
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return encode({"op": "ping", "ping": now_s})

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """No confirmation is known."""
        wanted = [{"symbol": s.instrument.wire, "ch": "trade"} for s in streams]
        return [
            Subscription(encode({"op": "subscribe", "args": list(part)}), acks=0)
            for part in batches(wanted, 50)
        ]

    def session(self) -> Parse:
        """The first frame of a market holds old trades."""
        begun: set[str] = set()

        def parse(frame: bytes) -> Sequence[Event]:
            if b'"trade"' in frame and b'"data"' in frame:
                message = _trades.decode(frame)
                if message.symbol in begun:
                    return _read(message)
                begun.add(message.symbol)
                return NOTHING
            return _parse_answer(frame) if b'"error"' in frame else NOTHING

        return parse

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"ch":"trade","symbol":"BTCUSDT","ts":1732178884994,"data":[{"t":
        "2024-11-21T08:08:04Z","p":"98000.1","v":"0.012","s":"buy"}]}` (s: taker)
        """
        if b'"trade"' in frame and b'"data"' in frame:
            return _read(_trades.decode(frame))
        return _parse_answer(frame) if b'"error"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        return _instrument(wire, *split_pair(wire, _QUOTES))


def _instrument(symbol: str, base: str, quote: str) -> Instrument:
    return Instrument(
        symbol=symbol, wire=symbol, base=coin(base), quote=quote, kind="perp", channel="public"
    )


def _read(message: _Trades) -> list[Trade]:
    trades = [
        Trade(
            message.symbol,
            row.t if isinstance(row.t, int) else milliseconds(row.t),
            row.p,
            row.v,
            row.s == "buy",
            "",
        )
        for row in message.data
    ]
    trades.sort(key=lambda trade: trade.ts_ms)
    return trades


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"event":"error","msg":"symbol not exist"}`"""
    answer = _answer.decode(frame)
    return (Rejection(answer.msg or "refused"),) if answer.event == "error" else NOTHING
