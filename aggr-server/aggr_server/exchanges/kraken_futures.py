"""Kraken Futures frames. https://docs.kraken.com/api/docs/futures-api/websocket/trade/

The adapter is `aggr_server.exchanges.kraken`: both halves of the venue share one name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
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

CHANNEL = "futures"
INSTRUMENTS = Request("https://futures.kraken.com/derivatives/api/v3/instruments")

_HISTORY = "https://futures.kraken.com/derivatives/api/v3/history?symbol={}&lastTime={}"
_HISTORY_ROWS = 100
_PRODUCTS_PER_MESSAGE = 50
_INVERSE = ("PI", "FI")
_DATED = ("FI", "FF")
# Assignments, terminations and blocks change hands outside the order book.
_IN_THE_BOOK = ("fill", "liquidation")
_LIQUIDATION = "liquidation"


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    uid: str
    side: Literal["buy", "sell"]
    type: str
    seq: int
    time: int
    qty: float
    price: float


class _Answer(msgspec.Struct):
    event: str = ""
    message: str = ""


class _PastTrade(msgspec.Struct, gc=False):
    time: Moment
    price: float
    size: float
    side: Literal["buy", "sell"]
    type: str
    uid: str


class _History(msgspec.Struct):
    result: str
    history: list[_PastTrade] = []
    error: str = ""


class _Row(msgspec.Struct):
    symbol: str
    type: str
    tradeable: bool
    contractSize: float | None = None
    base: str = ""
    quote: str = ""
    lastTradingTime: str | None = None


class _Rows(msgspec.Struct):
    result: str
    instruments: list[_Row] = []
    error: str = ""


_trade = msgspec.json.Decoder(_Trade)
_answer = msgspec.json.Decoder(_Answer)
_history = msgspec.json.Decoder(_History)
_rows = msgspec.json.Decoder(_Rows)

_TYPES = ("futures_inverse", "futures_vanilla", "flexible_futures")


def parse(frame: bytes) -> Sequence[Event]:
    """`{"feed":"trade","product_id":"PI_XBTUSD","uid":"05af78ac-a774-478c-a50c-8b9c234e071e",
    "side":"sell","type":"fill","seq":653355,"time":1612266317519,"qty":15000,"price":34969.5}`

    side: of the taker. A trade of the type `liquidation` is a trade and a forced order as well.
    Each product begins with a `trade_snapshot`: the last hundred trades, newest first.

    Unconfirmed: that the side of a liquidation is that of the forced order.
    """
    if b'"event"' in frame:
        return _parse_answer(frame)
    if b'"trade_snapshot"' in frame or b'"trade"' not in frame:
        return NOTHING
    t = _trade.decode(frame)
    if t.type not in _IN_THE_BOOK:
        return NOTHING
    is_buy = t.side == "buy"
    trade = Trade(t.product_id, t.time, t.price, t.qty, is_buy, t.uid, t.seq)
    if t.type != _LIQUIDATION:
        return (trade,)
    return trade, Liquidation(t.product_id, t.time, t.price, t.qty, is_buy, t.uid)


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"event":"subscribed","feed":"trade","product_ids":["PI_XBTUSD"]}` (for each product),
    `{"event":"error","message":"Invalid product id"}`,
    `{"event":"alert","message":"Already subscribed to feed, re-requesting"}`
    """
    answer = _answer.decode(frame)
    if answer.event == "subscribed":
        return (Ack(),)
    if answer.event in ("error", "alert") and not answer.message.startswith("Already subscribed"):
        return (Rejection(answer.message or "refused"),)
    return NOTHING


def subscriptions(streams: Sequence[Stream]) -> list[Subscription]:
    """Trades and forced orders of a product come with the same subscription."""
    products = list(dict.fromkeys(s.instrument.wire for s in streams))
    return [
        Subscription(
            encode({"event": "subscribe", "feed": "trade", "product_ids": list(part)}),
            acks=len(part),
        )
        for part in batches(products, _PRODUCTS_PER_MESSAGE)
    ]


def instruments(body: bytes) -> Page:
    """`{"result":"success","instruments":[{"symbol":"PF_XBTUSD","type":"flexible_futures",
    "tradeable":true,"contractSize":1,"base":"BTC","quote":"USD","pair":"BTC:USD"}]}`
    """
    answer = _rows.decode(body)
    if answer.result != "success":
        raise msgspec.ValidationError(f"result {answer.result}: {answer.error}")
    return Page(
        [_instrument(row) for row in answer.instruments if row.tradeable and row.type in _TYPES]
    )


def _instrument(row: _Row) -> Instrument:
    likely = assume(row.symbol)
    return Instrument(
        symbol=row.symbol,
        wire=row.symbol,
        base=coin(row.base) or likely.base,
        quote=row.quote.upper() or likely.quote,
        kind="future" if row.lastTradingTime else "perp",
        channel=CHANNEL,
        inverse=row.type == "futures_inverse",
        contract_size=row.contractSize,
    )


def assume(wire: str) -> Instrument:
    """PI and FI count dollars, PF and FF coins; FI and FF end on a day: `FI_XBTUSD_261225`."""
    family, _, rest = wire.partition("_")
    pair = rest.partition("_")[0]
    return Instrument(
        symbol=wire,
        wire=wire,
        base=coin(pair[:-3]),
        quote=pair[-3:].upper(),
        kind="future" if family.upper() in _DATED else "perp",
        channel=CHANNEL,
        inverse=family.upper() in _INVERSE,
    )


def past(instrument: Instrument, window: Window) -> Request:
    """The hundred trades before the end of the window; `read_past` asks for those before them."""
    return _before(instrument, window.to_ms)


def read_past(instrument: Instrument, window: Window, body: bytes) -> Past:
    """`{"result":"success","history":[{"time":"2022-03-18T04:55:37.692Z","trade_id":100,
    "price":0.7921,"size":1068,"side":"sell","type":"fill",
    "uid":"6c5da0b0-f1a8-483f-921f-466eb0388265"}],"serverTime":"2022-03-18T06:39:18.056Z"}` (newest
    first)
    """
    answer = _history.decode(body)
    if answer.result != "success":
        raise msgspec.ValidationError(f"result {answer.result}: {answer.error}")
    times = [milliseconds(row.time) for row in answer.history]
    following = None
    if len(times) >= _HISTORY_ROWS and min(times) > window.from_ms:
        oldest = min(times)
        # One millisecond may go on in the next answer, so it is asked for again.
        following = _before(instrument, oldest + 1 if max(times) > oldest else oldest)
    wire = instrument.wire
    trades, forced = [], []
    for ms, row in reversed(list(zip(times, answer.history, strict=True))):
        is_buy = row.side == "buy"
        if row.type in _IN_THE_BOOK:
            trades.append(Trade(wire, ms, row.price, row.size, is_buy, row.uid))
        if row.type == _LIQUIDATION:
            forced.append(Liquidation(wire, ms, row.price, row.size, is_buy, row.uid))
    return Past(trades, following, liquidations=forced)


def _before(instrument: Instrument, ms: int) -> Request:
    time = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return Request(_HISTORY.format(quote(instrument.wire), time.replace("+00:00", "Z")))
