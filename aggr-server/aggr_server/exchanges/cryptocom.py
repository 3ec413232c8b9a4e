"""Crypto.com Exchange. https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aggr_server import clock
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

_TRADES = (
    "https://api.crypto.com/exchange/v1/public/get-trades"
    "?instrument_name={}&start_ts={}&end_ts={}&count={}"
)
_TRADES_COUNT = 150
_CHANNELS_PER_MESSAGE = 50
_PUSHED = -1
_KINDS: dict[str, Kind] = {"CCY_PAIR": "spot", "PERPETUAL_SWAP": "perp", "FUTURE": "future"}
_PERP = "PERP"


class _Trade(msgspec.Struct, gc=False):
    d: str
    s: str
    p: float
    q: float
    t: int
    i: str


class _Result(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Trades(msgspec.Struct, gc=False):
    result: _Result
    id: int = _PUSHED


class _Message(msgspec.Struct):
    id: int = _PUSHED
    method: str = ""
    code: int = 0
    message: str = ""


class _PastTrades(msgspec.Struct):
    code: int
    result: _Result | None = None
    message: str = ""


class _Row(msgspec.Struct):
    symbol: str
    inst_type: str
    base_ccy: str
    quote_ccy: str
    tradable: bool
    contract_size: float | None = None


class _RowList(msgspec.Struct):
    data: list[_Row]


class _Rows(msgspec.Struct):
    code: int
    result: _RowList | None = None
    message: str = ""


_trades = msgspec.json.Decoder(_Trades, strict=False)
_message = msgspec.json.Decoder(_Message, strict=False)
_past_trades = msgspec.json.Decoder(_PastTrades, strict=False)
_rows = msgspec.json.Decoder(_Rows, strict=False)


class Cryptocom(Adapter):
    """Sizes in base coins, for contracts too.

    Unconfirmed: that the venue never gives more than 150 trades in one answer, and that only the
    first frame of a channel carries the id of its subscription.
    """

    name = "CRYPTOCOM"
    channels = {  # noqa: RUF012
        "market": Channel(
            url="wss://stream.crypto.com/exchange/v1/market", max_streams=200, settle_s=1.0
        )
    }
    discovery = (Request("https://api.crypto.com/exchange/v1/public/get-instruments"),)
    rest_spacing_s = 0.05

    def instruments(self, body: bytes) -> Page:
        """`{"id":-1,"method":"public/get-instruments","code":0,"result":{"data":[{
        "symbol":"BTCUSD-PERP","inst_type":"PERPETUAL_SWAP","base_ccy":"BTC","quote_ccy":"USD",
        "contract_size":"1","tradable":true}]}}`
        """
        answer = _rows.decode(body)
        if answer.code != 0 or answer.result is None:
            raise msgspec.ValidationError(f"code {answer.code}: {answer.message}")
        return Page(
            [
                _instrument(row)
                for row in answer.result.data
                if row.tradable and row.inst_type in _KINDS
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        channels = [f"trade.{s.instrument.wire}" for s in streams]
        # A nonce that is far from the venue's time is refused.
        nonce = clock.now_ms()
        return [
            Subscription(
                encode(
                    {
                        "id": number,
                        "method": "subscribe",
                        "params": {"channels": list(part)},
                        "nonce": nonce,
                    }
                )
            )
            for number, part in enumerate(batches(channels, _CHANNELS_PER_MESSAGE), start=1)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USDT",
        "subscription":"trade.BTC_USDT","channel":"trade","data":[{"d":"2358394540212355488",
        "s":"SELL","p":42980.85,"q":0.002325,"t":1648122434404,"i":"BTC_USDT"}]}}`

        s: side of the taker, in either case. Newest first. The first frame of a channel holds up
        to fifty old trades and has the id of the subscription, which it confirms.
        """
        if b'"result"' in frame:
            if b'"trade"' not in frame:
                return NOTHING
            trades = _trades.decode(frame)
            found = _trades_of(trades.result.data)
            return found if trades.id == _PUSHED else [Ack(), *found]
        return _parse_message(frame)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """`BTC_USD` is spot, `BTCUSD-PERP` perpetual, `BTCUSD-261225` ends on a day."""
        pair, dash, term = wire.partition("-")
        base, _, quote = pair.partition("_")
        if dash:
            base, quote = pair[:-3], pair[-3:]
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if term == _PERP else "future" if dash else "spot",
            channel="market",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return _between(instrument, window.from_ms, window.to_ms)

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"id":-1,"method":"public/get-trades","code":0,"result":{"data":[{"s":"sell",
        "p":"26386.00","q":"0.00453","t":1686944282062,"tn":1686944282062123456,
        "d":"4611686018455979970","i":"BTC_USD"}]}}` (newest first)
        """
        answer = _past_trades.decode(body)
        if answer.code != 0 or answer.result is None:
            raise msgspec.ValidationError(f"code {answer.code}: {answer.message}")
        trades = _trades_of(answer.result.data)
        following = None
        if len(trades) >= _TRADES_COUNT:
            oldest, newest = min(t.ts_ms for t in trades), max(t.ts_ms for t in trades)
            # The end is exclusive; one millisecond may go on in the next answer.
            end = oldest + 1 if newest > oldest else oldest
            if end > window.from_ms:
                following = _between(instrument, window.from_ms, end)
        return Past(trades, following)


def _trades_of(rows: list[_Trade]) -> list[Trade]:
    return [_trade(row) for row in reversed(rows)]


def _trade(row: _Trade) -> Trade:
    side = row.s.upper()
    if side not in ("BUY", "SELL"):
        raise msgspec.ValidationError(f"side {row.s!r}")
    return Trade(row.i, row.t, row.p, row.q, side == "BUY", row.d)


def _between(instrument: Instrument, from_ms: int, to_ms: int) -> Request:
    return Request(_TRADES.format(instrument.wire, from_ms, to_ms, _TRADES_COUNT))


def _instrument(row: _Row) -> Instrument:
    kind = _KINDS[row.inst_type]
    return Instrument(
        symbol=row.symbol,
        wire=row.symbol,
        base=coin(row.base_ccy),
        quote=row.quote_ccy,
        kind=kind,
        channel="market",
        contract_size=1.0 if kind == "spot" else row.contract_size,
    )


def _parse_message(frame: bytes) -> Sequence[Event]:
    """`{"id":1587523073344,"method":"public/heartbeat","code":0}` is to be answered within 5 s;
    `{"id":1,"method":"subscribe","code":0}`, `{"id":0,"code":10004,"method":"subscribe",
    "message":"invalid channel {\\"channels\\":[\\"trade.FOO_USD\\"]}"}`
    """
    message = _message.decode(frame)
    if message.method == "public/heartbeat":
        answer = {"id": message.id, "method": "public/respond-heartbeat"}
        return (Reply(encode(answer)),)
    if message.method != "subscribe":
        return NOTHING
    if message.code == 0:
        return (Ack(),)
    named = message.message.split('"trade.')[1:]
    wire = named[0].partition('"')[0] if len(named) == 1 else ""
    return (Rejection(f"{message.code} {message.message}", wire),)
