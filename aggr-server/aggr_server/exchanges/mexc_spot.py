"""MEXC spot frames, which are protobuf. https://github.com/mexcdevelop/websocket-proto

The adapter is `aggr_server.exchanges.mexc`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges.base import NOTHING, Event, Trade

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 70
# Fields of the envelope, of the deals in it, of a deal.
_SYMBOL, _DEALS = 3, 314
_DEAL = 1
_PRICE, _QUANTITY, _SIDE, _TIME, _ID = 1, 2, 3, 4, 5


class _Deal(msgspec.Struct, gc=False):
    price: float
    quantity: float
    side: Literal[1, 2]
    time: int
    id: str = ""


def parse(frame: bytes) -> Sequence[Event]:
    """Trades in the envelope `{1: channel, 3: symbol, 6: send time, 314: {1: deal, 1: deal}}`,
    a deal being `{1: "93220.00", 2: "0.04438243", 3: 1, 4: 1736409765051, 5: id}`.

    Field 3 of a deal: 1 if the taker bought, 2 if the taker sold. Field 5 exists since June 2026.
    Raises `msgspec.MsgspecError`.
    """
    symbol, deals = "", None
    for field, value in _fields(frame):
        if field == _SYMBOL:
            symbol = _text(value)
        elif field == _DEALS:
            deals = value
    if deals is None:
        return NOTHING
    if not isinstance(deals, bytes) or not symbol:
        raise msgspec.ValidationError("deals of no symbol")
    found = [_deal(value) for field, value in _fields(deals) if field == _DEAL]
    return numbered(symbol, [(d.time, d.price, d.quantity, d.side == 1, d.id) for d in found])


def numbered(wire: str, rows: Sequence[tuple[int, float, float, bool, int | str]]) -> list[Trade]:
    """Trades of (ms, price, size, whether the taker bought, id) in either direction, oldest first.

    What has no id gets one of its content and its place among equal ones of the same frame or
    answer, so that a repetition is recognized. Equal trades of one millisecond that come in two
    frames count once.
    """
    equal: Counter[tuple[int, float, float, bool]] = Counter()
    trades = []
    newest_first = len(rows) > 1 and rows[0][0] > rows[-1][0]
    for ms, price, size, is_buy, id in reversed(rows) if newest_first else rows:
        if id == "":
            content = (ms, price, size, is_buy)
            id = f"{ms}/{price}/{size}/{is_buy:d}/{equal[content]}"
            equal[content] += 1
        trades.append(Trade(wire, ms, price, size, is_buy, id))
    return sorted(trades, key=lambda trade: trade.ts_ms)


def _deal(value: bytes | int) -> _Deal:
    if not isinstance(value, bytes):
        raise msgspec.ValidationError("a deal is no message")
    found: dict[str, object] = {}
    for field, content in _fields(value):
        if field in (_PRICE, _QUANTITY, _ID):
            name = {_PRICE: "price", _QUANTITY: "quantity", _ID: "id"}[field]
            found[name] = _text(content)
        elif field in (_SIDE, _TIME):
            found["side" if field == _SIDE else "time"] = content
    return msgspec.convert(found, _Deal, strict=False)


def _text(value: bytes | int) -> str:
    if not isinstance(value, bytes):
        raise msgspec.ValidationError("a text is a number")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"no UTF-8: {error.reason}") from error


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and content of each field; other than lengths and varints are passed over."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield field, number
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if size > end - at:
                raise msgspec.DecodeError("a field goes beyond the end of its message")
            yield field, message[at : at + size]
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
            if at > end:
                raise msgspec.DecodeError("a field goes beyond the end of its message")
        else:
            raise msgspec.DecodeError(f"no wire type {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = 0
    for shift in range(0, _LONGEST_VARINT, 7):
        if at >= len(message):
            raise msgspec.DecodeError("a number goes beyond the end of its message")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise msgspec.DecodeError("a number has more than ten bytes")
