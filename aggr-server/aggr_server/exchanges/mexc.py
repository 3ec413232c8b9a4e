"""MEXC, spot and futures. https://www.mexc.com/api-docs/spot-v3/websocket-market-streams"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges import mexc_spot
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
    split_pair,
)

_AGG_TRADES = "https://api.mexc.com/api/v3/aggTrades?symbol={}&startTime={}&endTime={}&limit={}"
_AGG_TRADES_LIMIT = 1000
_LONGEST_MS = 3_600_000
_DEALS = "https://contract.mexc.com/api/v1/contract/deals/{}?limit=100"
_TOPIC = "spot@public.aggre.deals.v3.api.pb@100ms@"
_QUOTES = ("USDT", "USDC", "USDE", "USD1", "USD", "BTC", "ETH", "EUR", "TUSD", "BRL")
_BUY = 1
_ENABLED = 0


class _Deal(msgspec.Struct, gc=False):
    p: float
    v: float
    T: Literal[1, 2]
    t: int
    i: str | int = ""


class _Deals(msgspec.Struct, gc=False):
    symbol: str
    data: list[_Deal] | _Deal


class _Message(msgspec.Struct):
    channel: str = ""
    msg: str = ""
    code: int = 0
    data: str | int | None = None


class _AggTrade(msgspec.Struct, gc=False):
    p: float
    q: float
    T: int
    m: bool


class _PastDeals(msgspec.Struct):
    success: bool
    data: list[_Deal] = []
    message: str = ""


class _Spot(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    isSpotTradingAllowed: bool = True


class _SpotRows(msgspec.Struct):
    symbols: list[_Spot]


class _Contract(msgspec.Struct):
    symbol: str
    baseCoin: str
    quoteCoin: str
    settleCoin: str
    contractSize: float
    state: int


class _ContractRows(msgspec.Struct):
    success: bool
    data: list[_Contract] = []
    message: str = ""


_deals = msgspec.json.Decoder(_Deals)
_message = msgspec.json.Decoder(_Message)
_agg_trades = msgspec.json.Decoder(list[_AggTrade], strict=False)
_past_deals = msgspec.json.Decoder(_PastDeals)
_spot_rows = msgspec.json.Decoder(_SpotRows)
_contract_rows = msgspec.json.Decoder(_ContractRows)


class Mexc(Adapter):
    """Spot: sizes in base coins. Futures: linear of some coins, inverse of some dollars.

    Unconfirmed: that a spot connection carries 30 subscriptions; which end of a window that holds
    more than a thousand trades `aggTrades` tells (taken to be the newer one).
    """

    name = "MEXC"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://wbs-api.mexc.com/ws", max_streams=30),
        "futures": Channel(url="wss://contract.mexc.com/edge", max_streams=100),
    }
    discovery = (
        Request("https://api.mexc.com/api/v3/exchangeInfo"),
        Request("https://contract.mexc.com/api/v1/contract/detail"),
    )
    ping_interval_s = 15.0
    message_spacing_s = 0.1
    lifetime_s = 86_400.0

    def instruments(self, body: bytes) -> Page:
        """`{"symbols":[{"symbol":"BTCUSDT","status":"1","baseAsset":"BTC","quoteAsset":"USDT",
        "isSpotTradingAllowed":true}]}`, `{"success":true,"code":0,"data":[{"symbol":"BTC_USDT",
        "baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT","contractSize":0.0001,"state":0}]}`
        """
        if b'"symbols"' in body:
            return Page(
                [
                    _spot(row.symbol, row.baseAsset, row.quoteAsset)
                    for row in _spot_rows.decode(body).symbols
                    if row.status == "1" and row.isSpotTradingAllowed
                ]
            )
        answer = _contract_rows.decode(body)
        _check(answer.success, answer.message)
        return Page([_contract(row) for row in answer.data if row.state == _ENABLED])

    def ping(self, channel: str, now_s: int) -> str:
        return '{"method":"PING"}' if channel == "spot" else '{"method":"ping"}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        """One market in each, so that a refusal tells which."""
        wires = [s.instrument.wire for s in streams]
        if channel == "spot":
            return [
                Subscription(encode({"method": "SUBSCRIPTION", "params": [_TOPIC + wire]}))
                for wire in wires
            ]
        return [
            Subscription(encode({"method": "sub.deal", "param": {"symbol": wire}, "gzip": False}))
            for wire in wires
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """Spot trades are protobuf, all else is JSON:

        `{"symbol":"BTC_USDT","data":[{"p":114350.4,"v":4,"T":2,"O":3,"M":2,"t":1760368563597}],
        "channel":"push.deal","ts":1760368563597}` (T: 1 if the taker bought, 2 if the taker sold)
        """
        if not frame.startswith(b"{"):
            return mexc_spot.parse(frame)
        if b'"push.deal"' not in frame:
            return _parse_message(frame)
        deals = _deals.decode(frame)
        rows = deals.data if isinstance(deals.data, list) else [deals.data]
        return _trades(deals.symbol, rows)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """`BTCUSDT` is spot, `BTC_USDT` a linear contract, `BTC_USD` an inverse one."""
        base, line, quote = wire.partition("_")
        if not line:
            return _spot(wire, *split_pair(wire, _QUOTES))
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="perp",
            channel="futures",
            inverse=quote == "USD",
            contract_size=None,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        if instrument.channel == "futures":
            return Request(_DEALS.format(instrument.wire))
        return _between(instrument, max(window.from_ms, window.to_ms - _LONGEST_MS), window.to_ms)

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """Futures, the newest hundred only: `{"success":true,"code":0,"data":[{"p":31199,"v":18,
        "T":1,"O":3,"M":2,"t":1609831235985}]}`

        Spot: `[{"a":null,"f":null,"l":null,"p":"46782.67","q":"0.0038","T":1641380483000,
        "m":true,"M":true}]` (m: the buyer was the maker, so the taker sold); a window longer than
        an hour is refused, so that only the last hour of it is asked for.
        """
        if instrument.channel == "futures":
            answer = _past_deals.decode(body)
            _check(answer.success, answer.message)
            trades = _trades(instrument.wire, answer.data)
            return Past(trades, since_ms=trades[0].ts_ms + 1 if trades else window.to_ms)
        rows = _agg_trades.decode(body)
        trades = mexc_spot.numbered(instrument.wire, [(r.T, r.p, r.q, not r.m, "") for r in rows])
        from_ms = max(window.from_ms, window.to_ms - _LONGEST_MS)
        following = None
        if len(trades) >= _AGG_TRADES_LIMIT and trades[0].ts_ms > from_ms:
            oldest, newest = trades[0].ts_ms, trades[-1].ts_ms
            # The end is inclusive: one millisecond may go on in the next answer.
            end = oldest if newest > oldest else oldest - 1
            following = _between(instrument, from_ms, end)
        return Past(trades, following, from_ms if from_ms > window.from_ms else 0)


def _between(instrument: Instrument, from_ms: int, to_ms: int) -> Request:
    return Request(_AGG_TRADES.format(instrument.wire, from_ms, to_ms, _AGG_TRADES_LIMIT))


def _trades(wire: str, rows: Iterable[_Deal]) -> list[Trade]:
    return mexc_spot.numbered(wire, [(r.t, r.p, r.v, r.T == _BUY, r.i) for r in rows])


def _check(success: bool, text: str) -> None:
    if not success:
        raise msgspec.ValidationError(text or "refused")


def _spot(wire: str, base: str, quote: str) -> Instrument:
    return Instrument(
        symbol=wire, wire=wire, base=coin(base), quote=quote, kind="spot", channel="spot"
    )


def _contract(row: _Contract) -> Instrument:
    return Instrument(
        symbol=row.symbol,
        wire=row.symbol,
        base=coin(row.baseCoin),
        quote=row.quoteCoin,
        kind="perp",
        channel="futures",
        inverse=row.quoteCoin != row.settleCoin,
        contract_size=row.contractSize,
    )


def _parse_message(frame: bytes) -> Sequence[Event]:
    """Spot: `{"id":0,"code":0,"msg":"spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"}`,
    `{"id":0,"code":0,"msg":"Not Subscribed successfully! [spot@..@FOO].  Reason: Blocked! "}`,
    `{"id":0,"code":0,"msg":"PONG"}`; futures: `{"channel":"rs.sub.deal","data":"success"}`,
    `{"channel":"rs.error","data":"Contract [FOO_USDT] not exists"}`
    """
    message = _message.decode(frame)
    if message.channel == "rs.sub.deal" or message.msg.startswith("spot@"):
        return (Ack(),)
    if message.channel == "rs.error":
        text = str(message.data)
        return (Rejection(text, text.partition("[")[2].partition("]")[0]),)
    if message.msg.startswith("Not Subscribed") or message.code != 0:
        wire = message.msg.partition("[")[2].partition("]")[0].rpartition("@")[2]
        return (Rejection(message.msg or f"code {message.code}", wire),)
    return NOTHING
