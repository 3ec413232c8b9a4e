"""Deribit. https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Reply,
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

_REST = "https://www.deribit.com/api/v2/public"
_TRADES = (
    _REST + "/get_last_trades_by_instrument_and_time?instrument_name={}&start_timestamp={}"
    "&end_timestamp={}&count=1000&sorting=asc"
)
_HEARTBEAT_S = 30
_PROOF_OF_LIFE = '{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'


class _Trade(msgspec.Struct, gc=False):
    instrument_name: str
    trade_seq: int
    trade_id: str
    timestamp: int
    price: float
    amount: float
    direction: Literal["buy", "sell"]
    liquidation: Literal["", "T", "M", "MT"] = ""


class _Parameters(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Trades(msgspec.Struct, gc=False):
    params: _Parameters


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Answer(msgspec.Struct):
    id: int | str | None = None
    result: list[str] | str | dict[str, str] | None = None
    error: _Error | None = None


class _Row(msgspec.Struct):
    instrument_name: str
    kind: str
    base_currency: str
    counter_currency: str
    is_active: bool
    future_type: str = ""
    settlement_period: str = ""


class _Rows(msgspec.Struct):
    result: list[_Row]


class _Past(msgspec.Struct):
    trades: list[_Trade]
    has_more: bool = False


class _PastAnswer(msgspec.Struct):
    result: _Past


_trades = msgspec.json.Decoder(_Trades)
_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)
_past = msgspec.json.Decoder(_PastAnswer)


class Deribit(Adapter):
    """Spot and linear: sizes in base coins. Inverse: in USD.

    Block trades are kept: they are off the book, but on the venue's tape, in its volume and in its
    numbering; without them the numbers would look as if trades were lost.
    """

    name = "DERIBIT"
    channels = {  # noqa: RUF012
        "public": Channel(
            url="wss://www.deribit.com/ws/api/v2",
            max_streams=500,
            carries=("trades", "liquidations"),
        )
    }
    discovery = (
        Request(_REST + "/get_instruments?currency=any&kind=future"),
        Request(_REST + "/get_instruments?currency=any&kind=spot"),
    )
    rest_spacing_s = 1.0
    message_spacing_s = 0.35
    gapless = True

    def instruments(self, body: bytes) -> Page:
        """`{"jsonrpc":"2.0","result":[{"instrument_name":"BTC-PERPETUAL","kind":"future",
        "future_type":"reversed","settlement_period":"perpetual","base_currency":"BTC",
        "counter_currency":"USD","contract_size":10.0,"is_active":true}]}`
        """
        return Page(
            [
                Instrument(
                    symbol=row.instrument_name,
                    wire=row.instrument_name,
                    base=coin(row.base_currency),
                    quote=row.counter_currency,
                    kind=_kind(row.kind, row.settlement_period),
                    channel="public",
                    inverse=row.future_type == "reversed",
                )
                for row in _rows.decode(body).result
                if row.is_active and row.kind in ("future", "spot")
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """Trades and forced orders come on the same channel: it is asked for once.

        A channel that does not exist is left out of the answer. The id of the request names what
        was asked for, and the answer repeats it, so that what is missing can be told.

        Unconfirmed: that the venue takes a text for an id, as JSON-RPC 2.0 allows.
        """
        wires = list(dict.fromkeys(s.instrument.wire for s in streams))
        heartbeat = {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "public/set_heartbeat",
            "params": {"interval": _HEARTBEAT_S},
        }
        return [
            Subscription(encode(heartbeat), acks=0),
            *(
                Subscription(
                    encode(
                        {
                            "jsonrpc": "2.0",
                            "id": ",".join(part),
                            "method": "public/subscribe",
                            "params": {"channels": [f"trades.{wire}.100ms" for wire in part]},
                        }
                    ),
                    acks=len(part),
                )
                for part in batches(wires, 100)
            ),
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"jsonrpc":"2.0","method":"subscription","params":{"channel":
        "trades.BTC_USDC-PERPETUAL.100ms","data":[{"trade_seq":501899,"trade_id":"USDC-2436803",
        "timestamp":1655397355998,"tick_direction":2,"price":21026,"mark_price":21019.9719,
        "instrument_name":"BTC_USDC-PERPETUAL","index_price":21031.7847,"direction":"buy",
        "amount":0.049}]}}` (direction: taker)

        `{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}`
        """
        if b'"trades.' in frame and b'"data"' in frame:
            events: list[Event] = []
            for row in _trades.decode(frame).params.data:
                events.append(_trade(row))
                if row.liquidation:
                    events.extend(_forced(row))
            return events
        if b'"test_request"' in frame:
            return (Reply(_PROOF_OF_LIFE),)
        return _parse_answer(frame) if b'"id"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """BTC-PERPETUAL, BTC-25DEC26: inverse. BTC_USDC-PERPETUAL: linear. BTC_USDC: spot."""
        pair, contract, term = wire.partition("-")
        base, linear, quote = pair.partition("_")
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote or "USD",
            kind=_kind("future" if contract else "spot", term.lower()),
            channel="public",
            inverse=bool(contract) and not linear,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_TRADES.format(instrument.wire, window.from_ms, window.to_ms - 1))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"jsonrpc":"2.0","result":{"trades":[{"trade_seq":132564271,"trade_id":"195402220",
        "timestamp":1639684927932,"price":47946.5,"instrument_name":"BTC-PERPETUAL",
        "direction":"buy","amount":580.0}],"has_more":true}}`
        """
        found = _past.decode(body).result
        past = Past(
            [_trade(row) for row in found.trades],
            liquidations=[order for row in found.trades for order in _forced(row)],
        )
        if found.has_more and found.trades:
            newest_ms = max(row.timestamp for row in found.trades)
            # A page within one millisecond would lead to itself for ever.
            stuck = min(row.timestamp for row in found.trades) == newest_ms
            start_ms = newest_ms + stuck
            past.next = Request(_TRADES.format(instrument.wire, start_ms, window.to_ms - 1))
        return past


def _kind(kind: str, settlement_period: str) -> Kind:
    if kind == "spot":
        return "spot"
    return "perp" if settlement_period == "perpetual" else "future"


def _trade(row: _Trade) -> Trade:
    return Trade(
        row.instrument_name,
        row.timestamp,
        row.price,
        row.amount,
        row.direction == "buy",
        row.trade_id,
        row.trade_seq,
    )


def _forced(row: _Trade) -> Iterator[Liquidation]:
    """The forced orders of a trade: T, the taker was liquidated; M, the maker; MT, both.

    Unconfirmed: that the maker's order has the side opposite to `direction`.
    """
    bought = row.direction == "buy"
    for flag in row.liquidation:
        yield Liquidation(
            row.instrument_name,
            row.timestamp,
            row.price,
            row.amount,
            bought if flag == "T" else not bought,
            f"{row.trade_id}/{flag}",
        )


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"jsonrpc":"2.0","id":"BTC-PERPETUAL,NO-PERPETUAL","result":["trades.BTC-PERPETUAL.100ms"]}`
    `{"jsonrpc":"2.0","id":"X","error":{"code":-32602,"message":"Invalid params"}}`
    """
    answer = _answer.decode(frame)
    asked = answer.id.split(",") if isinstance(answer.id, str) else []
    if answer.error is not None:
        reason = f"{answer.error.code} {answer.error.message}".strip()
        return (Rejection(reason, asked[0] if len(asked) == 1 else ""),)
    if not isinstance(answer.result, list):
        return NOTHING
    return [
        Ack() if f"trades.{wire}.100ms" in answer.result else Rejection("no such channel", wire)
        for wire in asked
    ]
