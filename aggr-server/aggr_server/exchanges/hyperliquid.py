"""Hyperliquid. https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket"""

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
    coin,
    encode,
)

_INFO = "https://api.hyperliquid.xyz/info"
_COIN = re.compile(r'"coin": ?"([^"]+)"')


class _Trade(msgspec.Struct, gc=False):
    coin: str
    side: Literal["A", "B"]
    px: float
    sz: float
    time: int
    tid: int


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Answer(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b'""')


class _Token(msgspec.Struct):
    name: str
    index: int


class _Pair(msgspec.Struct):
    name: str
    tokens: tuple[int, int] | None = None
    isDelisted: bool = False


class _Meta(msgspec.Struct):
    """Of perpetuals, or with `tokens` of spot."""

    universe: list[_Pair]
    tokens: list[_Token] = []


_trades = msgspec.json.Decoder(_Trades, strict=False)
_past = msgspec.json.Decoder(list[_Trade], strict=False)
_answer = msgspec.json.Decoder(_Answer)
_meta = msgspec.json.Decoder(_Meta)


class Hyperliquid(Adapter):
    """Sizes in base coins; of kPEPE in thousands, at prices of a thousand.

    The first frame of a market holds some trades from before the subscription. They are true, and
    dropped by their ids where they were counted before.
    """

    name = "HYPERLIQUID"
    channels = {  # noqa: RUF012
        # Unconfirmed: 1000 subscriptions and 10 connections for each address.
        "public": Channel(url="wss://api.hyperliquid.xyz/ws", max_streams=200)
    }
    discovery = (
        Request(_INFO, "POST", '{"type":"meta"}'),
        Request(_INFO, "POST", '{"type":"spotMeta"}'),
    )
    connect_spacing_s = 2.0
    message_spacing_s = 0.05
    rest_spacing_s = 1.0

    def instruments(self, body: bytes) -> Page:
        """`{"universe":[{"name":"BTC","szDecimals":5},{"name":"X","isDelisted":true}]}`,
        `{"tokens":[{"name":"USDC","index":0},{"name":"PURR","index":1}],
        "universe":[{"name":"PURR/USDC","tokens":[1,0],"index":0}]}`
        """
        meta = _meta.decode(body)
        names = {token.index: token.name for token in meta.tokens}
        found = []
        for pair in meta.universe:
            if pair.tokens is None:
                if not pair.isDelisted:
                    found.append(self.assume(pair.name))
            else:
                base, quote = (names.get(index, "") for index in pair.tokens)
                found.append(_instrument(pair.name, base, quote))
        return Page(found)

    def ping(self, channel: str, now_s: int) -> str:
        return '{"method":"ping"}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return [
            Subscription(
                encode(
                    {
                        "method": "subscribe",
                        "subscription": {"type": "trades", "coin": s.instrument.wire},
                    }
                )
            )
            for s in streams
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"68517.0","sz":"0.005",
        "time":1710125266669,"hash":"0xc872699f","tid":981894269203506}]}` (taker: A sold into the
        bids, B bought from the asks)
        """
        if b'"tid"' in frame:
            return [_trade(row) for row in _trades.decode(frame).data]
        return _parse_answer(frame) if b'"channel"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """BTC, kPEPE, xyz:NVDA: perpetuals. PURR/USDC: spot. @107: spot of unknown coins."""
        base, slash, quote = wire.partition("/")
        if slash or wire.startswith("@"):
            return _instrument(wire, base, quote)
        name = wire.rpartition(":")[2]
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(name[1:] if name[:1] == "k" and name[1:].isupper() else name),
            quote="USDC",
            kind="perp",
            channel="public",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        """Unconfirmed: the venue does not document this request."""
        return Request(_INFO, "POST", encode({"type": "recentTrades", "coin": instrument.wire}))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"coin":"BTC","side":"B","px":"68517.0","sz":"0.005","time":1710125266669,
        "hash":"0xc872699f","tid":981894269203506}]`, a handful of the newest.
        """
        trades = [_trade(row) for row in _past.decode(body)]
        # Trades of the oldest block may have been cut off.
        since_ms = min((t.ts_ms for t in trades), default=window.to_ms - 1) + 1
        return Past(trades, since_ms=since_ms)


def _instrument(wire: str, base: str, quote: str) -> Instrument:
    return Instrument(
        symbol=wire, wire=wire, base=coin(base), quote=quote, kind="spot", channel="public"
    )


def _trade(row: _Trade) -> Trade:
    return Trade(row.coin, row.time, row.px, row.sz, row.side == "B", row.tid)


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":{"type":
    "trades","coin":"BTC"}}}`, `{"channel":"error","data":"Invalid subscription {\\"type\\":
    \\"trades\\",\\"coin\\":\\"X\\"}"}`

    Unconfirmed: that the text of an error quotes the subscription.
    """
    answer = _answer.decode(frame)
    if answer.channel == "subscriptionResponse":
        return (Ack(),)
    if answer.channel != "error":
        return NOTHING
    text = msgspec.json.decode(answer.data, type=str)
    if "Already subscribed" in text:
        return (Ack(),)
    found = _COIN.search(text)
    return (Rejection(text, found[1] if found else ""),)
