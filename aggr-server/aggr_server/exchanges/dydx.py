"""dYdX v4, its indexer. https://docs.dydx.xyz/indexer-client/websockets#trades"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Greeting,
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
    coin,
    encode,
    milliseconds,
)

_REST = "https://indexer.dydx.trade/v4"
_PAGE = 1000
_TRADES = f"{_REST}/trades/perpetualMarket/{{}}?limit={_PAGE}&{{}}"
_REFUSED = re.compile(r"v4_trades-([^)\s]+)")

BlockEvent = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]+$", max_length=64)]
"""Block, transaction and event, eight hexadecimal digits each: grows from trade to trade."""


class _Trade(msgspec.Struct, gc=False):
    id: BlockEvent
    side: Literal["BUY", "SELL"]
    size: float
    price: float
    type: str
    createdAt: Moment
    createdAtHeight: int = 0


class _Trades(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _TradesFrame(msgspec.Struct, gc=False):
    id: str
    contents: _Trades


class _Message(msgspec.Struct):
    type: str = ""
    channel: str = ""
    message: str = ""


class _Market(msgspec.Struct):
    ticker: str
    status: str


class _Markets(msgspec.Struct):
    markets: dict[str, _Market]


_frame = msgspec.json.Decoder(_TradesFrame, strict=False)
_past = msgspec.json.Decoder(_Trades, strict=False)
_message = msgspec.json.Decoder(_Message)
_markets = msgspec.json.Decoder(_Markets)


class Dydx(Adapter):
    """Linear perpetuals; sizes in base coins."""

    name = "DYDX"
    channels = {  # noqa: RUF012
        # Unconfirmed: 32 subscriptions a connection, 2 messages a second.
        "public": Channel(
            url="wss://indexer.dydx.trade/v4/ws",
            max_streams=32,
            carries=("trades", "liquidations"),
            greets=True,
        )
    }
    discovery = (Request(f"{_REST}/perpetualMarkets"),)
    message_spacing_s = 0.6

    def instruments(self, body: bytes) -> Page:
        """`{"markets":{"BTC-USD":{"ticker":"BTC-USD","status":"ACTIVE","openInterest":"52"}}}`"""
        return Page(
            [
                self.assume(market.ticker)
                for market in _markets.decode(body).markets.values()
                if market.status == "ACTIVE"
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """Trades and forced orders come on the same channel: it is asked for once."""
        return [
            Subscription(
                encode({"type": "subscribe", "channel": "v4_trades", "id": wire, "batched": False})
            )
            for wire in dict.fromkeys(s.instrument.wire for s in streams)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"type":"channel_data","connection_id":"9011edff","message_id":5,"id":"BTC-USD",
        "channel":"v4_trades","version":"2.1.0","contents":{"trades":[{"id":
        "02b6148d0000000200000005","side":"BUY","size":"0.024","price":"114581","type":"LIMIT",
        "createdAt":"2025-08-04T00:42:07.119Z","createdAtHeight":"45487245"}]}}` (side: taker)

        A confirmation, `subscribed`, holds old trades.
        """
        if b'"channel_data"' in frame:
            message = _frame.decode(frame)
            trades = message.contents.trades
            return [event for row in _sorted(trades) for event in _events(message.id, row)]
        if b'"type"' not in frame:
            return NOTHING
        return _parse_message(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, _, quote = wire.rpartition("-")
        # A market made without permission may name its coin with its contract's address.
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base.partition(",")[0]),
            quote=quote,
            kind="perp",
            channel="public",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        """Unconfirmed: `createdBeforeOrAt` and `createdBeforeOrAtHeight`."""
        end = datetime.fromtimestamp(window.to_ms / 1000, UTC).isoformat(timespec="milliseconds")
        return Request(
            _TRADES.format(instrument.wire, f"createdBeforeOrAt={end.replace('+00:00', 'Z')}")
        )

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"trades":[{"id":"02ac5b1f0000000200000002","side":"BUY","size":"0.0501","price":
        "115732","type":"LIMIT","createdAt":"2025-07-25T05:11:09.800Z","createdAtHeight":
        "44849951"}]}`, newest first.
        """
        rows = _past.decode(body).trades
        found = [event for row in _sorted(rows) for event in _events(instrument.wire, row)]
        past = Past(
            [event for event in found if isinstance(event, Trade)],
            liquidations=[event for event in found if isinstance(event, Liquidation)],
        )
        if len(rows) >= _PAGE and past.trades[0].ts_ms >= window.from_ms:
            heights = [row.createdAtHeight for row in rows]
            # A page within one block would lead to itself for ever.
            height = min(heights) - (min(heights) == max(heights))
            past.next = Request(
                _TRADES.format(instrument.wire, f"createdBeforeOrAtHeight={height}")
            )
        return past


def _sorted(rows: Iterable[_Trade]) -> list[_Trade]:
    return sorted(rows, key=lambda row: int(row.id, 16))


def _events(wire: str, row: _Trade) -> tuple[Trade, *tuple[Liquidation, ...]]:
    ts_ms = milliseconds(row.createdAt)
    bought = row.side == "BUY"
    # Trades of one time are of one block.
    order = int(row.id[-16:], 16)
    trade = Trade(wire, ts_ms, row.price, row.size, bought, row.id, order)
    if row.type != "LIQUIDATED":
        return (trade,)
    return trade, Liquidation(wire, ts_ms, row.price, row.size, bought, f"{row.id}/L")


def _parse_message(frame: bytes) -> Sequence[Event]:
    """`{"type":"connected","connection_id":"9011edff","message_id":0}`,
    `{"type":"subscribed","channel":"v4_trades","id":"BTC-USD","contents":{"trades":[]}}`,
    `{"type":"error","message":"Invalid subscription id for channel: (v4_trades-NO-USD)"}`

    Unconfirmed: that the text of an error names the market.
    """
    message = _message.decode(frame)
    if message.type == "connected":
        return (Greeting(),)
    if message.type == "subscribed" and message.channel == "v4_trades":
        return (Ack(),)
    if message.type == "error":
        found = _REFUSED.search(message.message)
        return (Rejection(message.message or "refused", found[1] if found else ""),)
    return NOTHING
