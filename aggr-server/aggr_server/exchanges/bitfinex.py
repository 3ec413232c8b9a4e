"""Bitfinex. https://docs.bitfinex.com/reference/ws-public-trades"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aggr_server.exchanges.base import (
    NOTHING,
    Ack,
    Adapter,
    Channel,
    Event,
    Instrument,
    Leaving,
    Liquidation,
    Page,
    Parse,
    Past,
    Rejection,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    encode,
    split_pair,
)

_REST = "https://api-pub.bitfinex.com/v2"
_TRADES = _REST + "/trades/{}/hist?start={}&end={}&limit={}&sort=1"
_PAGE = 10_000
_PERP = "F0"
_OTHER_NAMES = {
    **{"UST": "USDT", "UDC": "USDC", "TSD": "TUSD", "TERRAUST": "USTC", "EUT": "EURT"},
    **{"ALG": "ALGO", "AMP": "AMPL", "ATO": "ATOM", "BCHN": "BCH", "DAT": "DATA", "DSH": "DASH"},
    **{"IOT": "IOTA", "LUNA": "LUNC", "LUNA2": "LUNA", "MNA": "MANA", "QTM": "QTUM"},
    **{"STJ": "STORJ", "VSY": "VSYS", "WAX": "WAXP"},
}
_QUOTES = ("USD", "UST", "UDC", "BTC", "ETH", "EUR", "GBP", "JPY")
_LIQUIDATIONS = "liq:global"
_RESTART, _MAINTENANCE_ENDED, _ALREADY_SUBSCRIBED = 20051, 20061, 10301


class _Execution(msgspec.Struct, array_like=True, gc=False):
    id: int
    ts_ms: int
    amount: float
    price: float


class _Executed(msgspec.Struct, array_like=True, gc=False):
    channel: int
    kind: str
    trade: _Execution


class _Position(msgspec.Struct, array_like=True, gc=False):
    kind: str
    id: int
    ts_ms: int
    unused_3: Any
    symbol: str
    amount: float
    base_price: float | None
    unused_7: Any
    executed: int | None
    sold: int | None = None
    unused_10: Any = None
    price: float | None = None


class _Positions(msgspec.Struct, array_like=True, gc=False):
    channel: int
    rows: list[_Position]


class _Message(msgspec.Struct):
    event: str
    channel: str = ""
    chanId: int = 0
    symbol: str = ""
    key: str = ""
    code: int = 0
    msg: str = ""


_executed = msgspec.json.Decoder(_Executed)
_positions = msgspec.json.Decoder(_Positions)
_message = msgspec.json.Decoder(_Message)
_pairs = msgspec.json.Decoder(list[list[str]])
_executions = msgspec.json.Decoder(list[_Execution])


class Bitfinex(Adapter):
    """Sizes in base coins; contracts are linear, of one coin."""

    name = "BITFINEX"
    channels = {  # noqa: RUF012
        # Unconfirmed: 25 subscriptions a connection.
        "trades": Channel(url="wss://api-pub.bitfinex.com/ws/2", max_streams=25),
        # One subscription tells the forced orders of all markets.
        "status": Channel(
            url="wss://api-pub.bitfinex.com/ws/2",
            max_streams=1000,
            carries=("liquidations",),
            instruments_of="trades",
        ),
    }
    discovery = (Request(_REST + "/conf/pub:list:pair:exchange,pub:list:pair:futures"),)
    connect_spacing_s = 3.0
    rest_spacing_s = 4.0

    def instruments(self, body: bytes) -> Page:
        """`[["BTCUSD","DOGE:USD"],["BTCF0:USTF0"]]`, spot and perpetuals."""
        return Page(
            [
                self.assume(f"t{pair}")
                for pairs in _pairs.decode(body)
                for pair in pairs
                if "TEST" not in pair
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        if channel == "status":
            wanted = {"event": "subscribe", "channel": "status", "key": _LIQUIDATIONS}
            return [Subscription(encode(wanted))]
        return [
            Subscription(
                encode({"event": "subscribe", "channel": "trades", "symbol": s.instrument.wire})
            )
            for s in streams
        ]

    def session(self) -> Parse:
        """Trades name their market by a number that its confirmation gave it."""
        wires: dict[int, str] = {}

        def parse(frame: bytes) -> Sequence[Event]:
            if b'"te"' in frame:
                return _trade(wires, frame)
            if b'"pos"' in frame:
                return [order for p in _positions.decode(frame).rows for order in _forced(p)]
            return _parse_message(wires, frame) if b'"event"' in frame else NOTHING

        return parse

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`[232959,"te",[401597395,1574694478808,0.005,7245.3]]` (number of the market, id, time,
        amount: positive where the taker bought, price)

        The same trade comes again as `tu`; old ones come first, in an array of arrays.
        `[232959,"hb"]` says that the connection is alive.

        `[91684,[["pos",145400868,1609144352338,null,"tAVAXF0:USTF0",-8,32.868,null,0,0,null,null]]]`
        (position, time, symbol, amount: positive for a long, entry price, executed, sold into the
        market, price at which it was acquired)
        """
        return self.session()(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """tBTCUSD, tDOGE:USD: spot. tBTCF0:USTF0: perpetual."""
        pair = wire.removeprefix("t")
        base, colon, quote = pair.partition(":")
        if not colon:
            base, quote = split_pair(pair, _QUOTES)
        perp = quote.endswith(_PERP)
        base, quote = base.removesuffix(_PERP), quote.removesuffix(_PERP)
        return Instrument(
            symbol=pair,
            wire=wire,
            base=coin(_OTHER_NAMES.get(base, base)),
            quote=_OTHER_NAMES.get(quote, quote),
            kind="perp" if perp else "spot",
            channel="trades",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return Request(_TRADES.format(instrument.wire, window.from_ms, window.to_ms - 1, _PAGE))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[[401597393,1574694475039,0.005,7244.9]]`, oldest first."""
        rows = _executions.decode(body)
        past = Past([_read(instrument.wire, row) for row in rows])
        if len(rows) >= _PAGE:
            # A page within one millisecond would lead to itself for ever.
            start_ms = rows[-1].ts_ms + (rows[0].ts_ms == rows[-1].ts_ms)
            past.next = Request(_TRADES.format(instrument.wire, start_ms, window.to_ms - 1, _PAGE))
        return past


def _read(wire: str, row: _Execution) -> Trade:
    return Trade(wire, row.ts_ms, row.price, abs(row.amount), row.amount > 0, row.id, row.id)


def _trade(wires: dict[int, str], frame: bytes) -> Sequence[Event]:
    executed = _executed.decode(frame)
    if executed.kind != "te":
        return NOTHING
    wire = wires.get(executed.channel)
    if wire is None:
        raise msgspec.ValidationError(f"channel {executed.channel} was never confirmed")
    return (_read(wire, executed.trade),)


def _forced(position: _Position) -> Sequence[Liquidation]:
    """The forced order of a position, if the row is the one that starts its liquidation.

    Unconfirmed: that only rows not yet executed are to be counted; others tell what became of it.
    """
    price = position.price or position.base_price
    if position.kind != "pos" or position.executed or price is None:
        return ()
    return (
        Liquidation(
            position.symbol,
            position.ts_ms,
            price,
            abs(position.amount),
            position.amount < 0,
            f"{position.id}/{position.ts_ms}",
        ),
    )


def _parse_message(wires: dict[int, str], frame: bytes) -> Sequence[Event]:
    """`{"event":"subscribed","channel":"trades","chanId":19111,"symbol":"tBTCUSD"}`,
    `{"event":"error","msg":"symbol: invalid","code":10300,"channel":"trades","symbol":"tX"}`,
    `{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}`
    """
    message = _message.decode(frame)
    if message.event == "subscribed":
        if message.channel == "trades":
            wires[message.chanId] = message.symbol
        return (Ack(),)
    if message.event == "error":
        if message.code == _ALREADY_SUBSCRIBED:
            return (Ack(),)
        reason = f"{message.code} {message.msg}".strip()
        if message.channel == "trades":
            return (Rejection(reason, message.symbol, "trades"),)
        return (Rejection(reason, message.symbol),)
    if message.event == "info" and message.code in (_RESTART, _MAINTENANCE_ENDED):
        return (Leaving(f"{message.code} {message.msg}".strip()),)
    return NOTHING
