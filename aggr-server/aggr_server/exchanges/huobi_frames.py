"""HTX frames, which are gzip. https://www.htx.com/en-us/opend/newApiPages/

The adapter is `aggr_server.exchanges.huobi`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Event,
    Leaving,
    Liquidation,
    Rejection,
    Reply,
    Trade,
    encode,
)

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
_MAX_FRAME = 16 << 20

Side = Literal["buy", "sell"]


class _SpotTrade(msgspec.Struct, gc=False):
    """`id` has up to 27 digits and is not needed."""

    tradeId: int
    ts: int
    amount: float
    price: float
    direction: Side


class ContractTrade(msgspec.Struct, gc=False):
    id: int
    ts: int
    amount: float
    price: float
    direction: Side


class _SpotTick(msgspec.Struct, gc=False):
    data: list[_SpotTrade]


class ContractTick(msgspec.Struct, gc=False):
    data: list[ContractTrade]


class _SpotFrame(msgspec.Struct, gc=False):
    ch: str
    tick: _SpotTick


class _ContractFrame(msgspec.Struct, gc=False):
    ch: str
    tick: ContractTick


class _Liquidation(msgspec.Struct, gc=False):
    contract_code: str
    direction: Side
    volume: float
    price: float
    created_at: int


class _Liquidations(msgspec.Struct, gc=False):
    data: list[_Liquidation]


class _Message(msgspec.Struct, rename={"err_code": "err-code", "err_msg": "err-msg"}):
    ping: int | None = None
    op: str = ""
    ts: int | str | None = None
    status: str = ""
    subbed: str = ""
    topic: str = ""
    id: str | int | None = None
    err_code: str | int | None = None
    err_msg: str = ""


_spot_frame = msgspec.json.Decoder(_SpotFrame)
_contract_frame = msgspec.json.Decoder(_ContractFrame)
_liquidations = msgspec.json.Decoder(_Liquidations)
_message = msgspec.json.Decoder(_Message)


def parse(frame: bytes) -> Sequence[Event]:
    """`{"ch":"market.trioeth.trade.detail","ts":1618678027942,"tick":{"id":100182534526,
    "ts":1618678027940,"data":[{"id":100182534526255757567432481,"ts":1618678027940,
    "tradeId":100045088885,"amount":20995.88,"price":9.2E-7,"direction":"buy"}]}}`

    `{"ch":"market.GRT-USDT.trade.detail","ts":1645289380959,"tick":{"id":43131183313,
    "ts":1645289380927,"data":[{"amount":4,"quantity":40,"trade_turnover":16.7648,
    "ts":1645289380927,"id":431311833130000,"price":0.41912,"direction":"buy"}]}}`

    `{"op":"notify","topic":"public.BTC-USDT.liquidation_orders","ts":1580815422403,"data":[{
    "contract_code":"BTC-USDT","symbol":"BTC","direction":"sell","offset":"close",
    "volume":624,"price":16701.4,"created_at":1606380004694,"amount":0.624}]}`

    direction: of the taker, of the forced order. The first frame after subscribing repeats
    old trades, which their ids tell.
    """
    if frame.startswith(_GZIP):
        frame = _unpack(frame)
    if b'"tick"' in frame:
        return _parse_trades(frame) if b".trade.detail" in frame else NOTHING
    if b'"notify"' in frame:
        if b".liquidation_orders" not in frame:
            return NOTHING
        return [
            Liquidation(q.contract_code, q.created_at, q.price, q.volume, q.direction == "buy")
            for q in _liquidations.decode(frame).data
        ]
    return _parse_message(frame)


def _unpack(frame: bytes) -> bytes:
    """Raises `msgspec.DecodeError` if the frame is damaged, or unreasonably large inside."""
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    try:
        text = inflate.decompress(frame, _MAX_FRAME)
    except zlib.error as error:
        raise msgspec.DecodeError(f"damaged gzip: {error}") from error
    if not inflate.eof:
        raise msgspec.DecodeError(f"cut gzip, or more than {_MAX_FRAME} bytes in it")
    return text


def _parse_trades(frame: bytes) -> list[Trade]:
    if b'"tradeId"' in frame:
        spot = _spot_frame.decode(frame)
        wire = _wire(spot.ch)
        return ordered(
            Trade(wire, t.ts, t.price, t.amount, t.direction == "buy", t.tradeId, t.tradeId)
            for t in spot.tick.data
        )
    contracts = _contract_frame.decode(frame)
    wire = _wire(contracts.ch)
    return ordered(contract_trade(wire, t) for t in contracts.tick.data)


def contract_trade(wire: str, t: ContractTrade) -> Trade:
    # The venue counts what was bought and what was sold.
    return Trade(wire, t.ts, t.price, t.amount / 2, t.direction == "buy", t.id, t.id)


def ordered(trades: Iterable[Trade]) -> list[Trade]:
    return sorted(trades, key=lambda trade: (trade.ts_ms, trade.order))


def _wire(topic: str) -> str:
    return topic.removeprefix("market.").removesuffix(".trade.detail")


def _parse_message(frame: bytes) -> Sequence[Event]:
    """Market sockets: `{"ping":1645289384000}`, `{"id":"btcusdt","status":"ok",
    "subbed":"market.btcusdt.trade.detail","ts":1583414229143}`, `{"id":"foousdt","status":"error",
    "err-code":"bad-request","err-msg":"invalid symbol","ts":1586323747018}`

    Notification sockets: `{"op":"ping","ts":"1492420473058"}`, `{"op":"sub","cid":"BTC-USDT",
    "topic":"public.BTC-USDT.liquidation_orders","err-code":0,"ts":1489474081631}`,
    `{"op":"close","ts":1489474081631}`
    """
    message = _message.decode(frame)
    if message.ping is not None:
        return (Reply(encode({"pong": message.ping})),)
    if message.op == "ping":
        return (Reply(encode({"op": "pong", "ts": message.ts})),)
    if message.op == "close":
        return (Leaving("the venue closes the connection"),)
    if message.op in ("sub", "error"):
        if message.op == "sub" and message.err_code in (0, "0", None):
            return (Ack(),)
        wire = message.topic.removeprefix("public.").removesuffix(".liquidation_orders")
        reason = f"{message.err_code} {message.err_msg}".strip()
        return (Rejection(reason, wire, "liquidations" if wire else ""),)
    if message.status == "error":
        wire = message.id if isinstance(message.id, str) else ""
        return (Rejection(f"{message.err_code} {message.err_msg}", wire, "trades" if wire else ""),)
    return (Ack(),) if message.subbed else NOTHING
