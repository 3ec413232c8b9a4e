"""Bitstamp, spot and perpetuals. https://www.bitstamp.net/websocket/v2/"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aggr_server import clock
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

_CHANNEL = "live_trades_"
_PERP = "-perp"
_TRANSACTIONS = "https://www.bitstamp.net/api/v2/transactions/{}/?time={}"
# A request may wait before it is sent, so the venue is asked for a little more than is needed.
_SLACK_MS = 10_000
_DAY_MS = 86_400_000
_SPANS = (("minute", 60_000), ("hour", 3_600_000), ("day", _DAY_MS))
_QUOTES = ("USDT", "USDC", "PYUSD", "RLUSD", "USD", "EUR", "GBP", "BTC", "ETH")


class _Trade(msgspec.Struct, gc=False):
    id: int
    amount: float
    price: float
    type: Literal[0, 1]
    microtimestamp: int


class _TradeFrame(msgspec.Struct, gc=False):
    channel: str
    data: _Trade


class _Problem(msgspec.Struct):
    code: int | None = None
    message: str = ""


class _Message(msgspec.Struct):
    event: str = ""
    channel: str = ""
    data: _Problem | str | None = None


class _PastTrade(msgspec.Struct, gc=False):
    date: int
    tid: int
    price: float
    amount: float
    type: Literal[0, 1]


class _Row(msgspec.Struct):
    market_symbol: str
    base_currency: str
    counter_currency: str
    market_type: str = "SPOT"
    trading: str = "Enabled"
    payoff_type: str = ""
    contract_size: float | None = None


_trade_frame = msgspec.json.Decoder(_TradeFrame, strict=False)
_message = msgspec.json.Decoder(_Message)
_past_trades = msgspec.json.Decoder(list[_PastTrade], strict=False)
_rows = msgspec.json.Decoder(list[_Row], strict=False)


class Bitstamp(Adapter):
    """Sizes in base coins, or in contracts of a stated size.

    Unconfirmed: how many subscriptions one connection may carry, and how fast they may come.
    """

    name = "BITSTAMP"
    channels = {"public": Channel(url="wss://ws.bitstamp.net", max_streams=100)}  # noqa: RUF012
    discovery = (Request("https://www.bitstamp.net/api/v2/markets/"),)
    message_spacing_s = 0.1

    def instruments(self, body: bytes) -> Page:
        """`[{"name":"BTC/USD-PERP","market_symbol":"btcusd-perp","base_currency":"BTC",
        "counter_currency":"USD","trading":"Enabled","market_type":"PERPETUAL",
        "payoff_type":"Linear","contract_size":"1.00000000"}]`
        """
        return Page(
            [
                _instrument(row)
                for row in _rows.decode(body)
                if row.trading == "Enabled" and row.market_type in ("SPOT", "PERPETUAL")
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return '{"event":"bts:heartbeat"}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        channels = [f"{_CHANNEL}{s.instrument.wire}" for s in streams]
        return [
            Subscription(encode({"event": "bts:subscribe", "data": {"channel": channel}}))
            for channel in channels
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"data":{"id":216000477,"timestamp":"1641343699","amount":0.0792,"price":3805.44,
        "amount_str":"0.07920000","price_str":"3805.44","type":0,
        "microtimestamp":"1641343699596000","buy_order_id":1443875737346049,
        "sell_order_id":1443875731320832},"channel":"live_trades_ethusd","event":"trade"}`

        type: 0 if the taker bought, 1 if the taker sold.
        """
        if b'"trade"' in frame:
            decoded = _trade_frame.decode(frame)
            wire, t = decoded.channel.removeprefix(_CHANNEL), decoded.data
            return (
                Trade(wire, t.microtimestamp // 1000, t.price, t.amount, t.type == 0, t.id, t.id),
            )
        return _parse_message(frame) if b'"bts:' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        base, quote = split_pair(wire.removesuffix(_PERP).upper(), _QUOTES)
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp" if wire.endswith(_PERP) else "spot",
            channel="public",
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        # The venue knows no times, only how far back to go from now.
        age_ms = clock.now_ms() + _SLACK_MS - window.from_ms
        span = next((name for name, ms in _SPANS if age_ms < ms), "day")
        return Request(_TRANSACTIONS.format(instrument.wire, span))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`[{"date":"1637845199","tid":"209895701","amount":"0.00500000","type":"0",
        "price":"4451.25"}]` (newest first, whole seconds)
        """
        trades = [
            Trade(instrument.wire, t.date * 1000, t.price, t.amount, t.type == 0, t.tid, t.tid)
            for t in _past_trades.decode(body)
        ]
        known_ms = clock.now_ms() + _SLACK_MS - _DAY_MS
        return Past(trades, since_ms=known_ms if known_ms > window.from_ms else 0)

    def wire_symbol(self, text: str) -> str:
        return text.lower()


def _instrument(row: _Row) -> Instrument:
    perpetual = row.market_type == "PERPETUAL"
    return Instrument(
        symbol=row.market_symbol,
        wire=row.market_symbol,
        base=coin(row.base_currency),
        quote=row.counter_currency.upper(),
        kind="perp" if perpetual else "spot",
        channel="public",
        inverse=row.payoff_type.lower() == "inverse",
        contract_size=row.contract_size if perpetual else 1.0,
    )


def _parse_message(frame: bytes) -> Sequence[Event]:
    """`{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}`,
    `{"event":"bts:error","channel":"","data":{"code":4009,"message":"Unauthorized."}}`,
    `{"event":"bts:request_reconnect","channel":"","data":""}`
    """
    message = _message.decode(frame)
    if message.event == "bts:subscription_succeeded":
        return (Ack(),)
    if message.event == "bts:request_reconnect":
        return (Leaving("the venue asks to reconnect"),)
    if message.event == "bts:error":
        problem = message.data
        text = problem.message if isinstance(problem, _Problem) else problem
        return (Rejection(text or "refused", message.channel.removeprefix(_CHANNEL)),)
    return NOTHING
