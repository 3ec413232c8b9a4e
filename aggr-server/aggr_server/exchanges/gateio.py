"""Gate spot and perpetuals. https://www.gate.com/docs/developers/apiv4/ws/en/"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

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
    Request,
    Stream,
    StreamKind,
    Subscription,
    Trade,
    Window,
    batches,
    coin,
    encode,
)

_SPOT_SUFFIX = "-SPOT"
_REST = "https://api.gateio.ws/api/v4"
_SETTLED = {"USDT": "usdt", "USD": "btc", "USD1": "usd1"}
_TOPICS: dict[StreamKind, str] = {"trades": "trades", "liquidations": "public_liquidates"}
_KNOWN_SIZES = {"BTC_USDT": 0.0001}
_BATCH = 50
_PAGE = 1000
_SECONDS_END = 1_000_000_000_000  # times below are seconds, not milliseconds

_Time = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class _SpotTrade(msgspec.Struct, gc=False):
    id: int
    create_time_ms: _Time
    side: Literal["buy", "sell"]
    currency_pair: str
    amount: float
    price: float


class _Trade(msgspec.Struct, gc=False):
    id: int
    create_time_ms: _Time
    contract: str
    size: float
    price: float
    is_internal: bool = False


class _Forced(msgspec.Struct, gc=False):
    contract: str
    price: float
    size: float
    time: _Time


class _SpotTrades(msgspec.Struct, gc=False):
    result: _SpotTrade | list[_SpotTrade]


class _Trades(msgspec.Struct, gc=False):
    result: list[_Trade]


class _Liquidations(msgspec.Struct, gc=False):
    result: _Forced | list[_Forced]


class _Error(msgspec.Struct):
    message: str = ""


class _Answer(msgspec.Struct):
    channel: str = ""
    event: str = ""
    error: _Error | None = None
    payload: list[str] = []


class _Pair(msgspec.Struct):
    id: str
    base: str
    quote: str
    trade_status: str


class _Contract(msgspec.Struct):
    name: str
    type: str
    quanto_multiplier: float
    status: str = "trading"
    in_delisting: bool = False


_spot_trades = msgspec.json.Decoder(_SpotTrades, strict=False)
_trades = msgspec.json.Decoder(_Trades, strict=False)
_liquidations = msgspec.json.Decoder(_Liquidations, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_pairs = msgspec.json.Decoder(list[_Pair])
_contracts = msgspec.json.Decoder(list[_Contract], strict=False)
_past_spot = msgspec.json.Decoder(list[_SpotTrade], strict=False)
_past_trades = msgspec.json.Decoder(list[_Trade], strict=False)


def _perpetuals(settle: str) -> Channel:
    return Channel(
        url=f"wss://fx-ws.gateio.ws/v4/ws/{settle}",
        max_streams=200,
        carries=("trades", "liquidations"),
        # Without it sizes are rounded down to whole contracts.
        headers={"X-Gate-Size-Decimal": "1"},
    )


class Gateio(Adapter):
    """Spot: sizes in base coins. Linear: contracts of `quanto_multiplier` coins. Inverse: USD."""

    name = "GATEIO"
    aliases = ("GATE", "GATEIO_FUTURES")
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://api.gateio.ws/ws/v4/", max_streams=200),
        "usdt": _perpetuals("usdt"),
        "btc": _perpetuals("btc"),
        "usd1": _perpetuals("usd1"),
    }
    discovery = (
        Request(f"{_REST}/spot/currency_pairs"),
        Request(f"{_REST}/futures/usdt/contracts"),
        Request(f"{_REST}/futures/btc/contracts"),
        Request(f"{_REST}/futures/usd1/contracts"),
    )
    # 300 connections for an address; 200 REST requests in 10 seconds.
    connect_spacing_s = 0.5
    rest_spacing_s = 0.06
    ping_interval_s = 15.0

    def instruments(self, body: bytes) -> Page:
        """`[{"id":"BTC_USDT","base":"BTC","quote":"USDT","trade_status":"tradable"}]`,
        `[{"name":"BTC_USDT","type":"direct","quanto_multiplier":"0.0001","status":"trading",
        "in_delisting":false}]`; inverse `"name":"BTC_USD","type":"inverse","quanto_multiplier":"0"`
        """
        if b'"trade_status"' in body:
            pairs = [p for p in _pairs.decode(body) if p.trade_status == "tradable"]
            return Page([_spot(pair.id, pair.base, pair.quote) for pair in pairs])
        return Page(
            [
                _perpetual(row.name, row.type == "inverse", row.quanto_multiplier)
                for row in _contracts.decode(body)
                if row.status == "trading"
                and not row.in_delisting
                and _is_settled_in_dollars_or_inverse(row)
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return encode({"time": now_s, "channel": f"{_prefix(channel)}.ping"})

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        # The venue refuses a request whose time is more than a minute off.
        now_s = clock.now_ms() // 1000
        found = []
        for kind, topic in _TOPICS.items():
            wires = [s.instrument.wire for s in streams if s.kind == kind]
            for part in batches(wires, _BATCH):
                message = {
                    "time": now_s,
                    "channel": f"{_prefix(channel)}.{topic}",
                    "event": "subscribe",
                    "payload": list(part),
                }
                found.append(Subscription(encode(message)))
        return found

    def parse(self, frame: bytes) -> Sequence[Event]:
        if b'"update"' not in frame:
            return _parse_answer(frame) if b'"subscribe"' in frame else NOTHING
        if b'"futures.trades"' in frame:
            return _parse_trades(frame)
        if b'"spot.trades"' in frame:
            return _parse_spot_trades(frame)
        if b'"futures.public_liquidates"' in frame:
            return _parse_liquidations(frame)
        return NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """Spot and perpetuals share their symbols; ids of spot trades are kept as text."""
        symbol = wire.removesuffix(_SPOT_SUFFIX)
        base, _, quote = symbol.partition("_")
        if symbol != wire or (isinstance(event, Trade) and isinstance(event.id, str)):
            return _spot(symbol, base, quote)
        return _perpetual(symbol, quote == "USD", _KNOWN_SIZES.get(symbol))

    def past(self, instrument: Instrument, window: Window) -> Request:
        return _ask(instrument, window.from_ms // 1000, -(-window.to_ms // 1000))

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """Spot: `[{"id":"1852958144","create_time":"1634673259","create_time_ms":
        "1634673259378.105000","currency_pair":"ADA_USDT","side":"sell","amount":"307.078",
        "price":"2.104"}]`

        Perpetuals, with create_time_ms in seconds: `[{"size":2,"id":2522911,"create_time_ms":
        1634673380.182,"create_time":1634673380.182,"contract":"ADA_USDT","price":"2.10486"}]`

        Newest first. The venue pages by whole seconds, so where more trades than fit on a page
        fell into two seconds, older ones stay unknown.
        """
        if instrument.channel == "spot":
            every = trades = [_spot_trade(row) for row in _past_spot.decode(body)]
        else:
            rows = _past_trades.decode(body)
            every = [_trade(row, 1000) for row in rows]
            trades = [t for t, row in zip(every, rows, strict=True) if not row.is_internal]
        if len(every) < _PAGE:
            return Past(trades)
        newest, oldest = every[0].ts_ms, every[-1].ts_ms
        if newest < oldest:
            raise msgspec.ValidationError("trades are not newest first")
        if oldest < window.from_ms:
            return Past(trades)
        end = oldest // 1000 + 1
        if newest // 1000 <= end:
            return Past(trades, since_ms=end * 1000)
        return Past(trades, _ask(instrument, window.from_ms // 1000, end))


def _prefix(channel: str) -> str:
    return "spot" if channel == "spot" else "futures"


def _ask(instrument: Instrument, from_s: int, to_s: int) -> Request:
    if instrument.channel == "spot":
        path = f"spot/trades?currency_pair={instrument.wire}"
    else:
        path = f"futures/{instrument.channel}/trades?contract={instrument.wire}"
    return Request(f"{_REST}/{path}&from={from_s}&to={to_s}&limit={_PAGE}")


def _spot_trade(t: _SpotTrade) -> Trade:
    is_buy = t.side == "buy"
    return Trade(t.currency_pair, int(t.create_time_ms), t.price, t.amount, is_buy, str(t.id), t.id)


def _trade(t: _Trade, scale: int = 1) -> Trade:
    ts_ms = int(t.create_time_ms * scale)
    return Trade(t.contract, ts_ms, t.price, abs(t.size), t.size > 0, t.id, t.id)


def _spot(wire: str, base: str, quote: str) -> Instrument:
    return Instrument(
        symbol=wire + _SPOT_SUFFIX,
        wire=wire,
        base=coin(base),
        quote=quote,
        kind="spot",
        channel="spot",
    )


def _perpetual(wire: str, inverse: bool, contract_size: float | None) -> Instrument:
    base, _, quote = wire.partition("_")
    return Instrument(
        symbol=wire,
        wire=wire,
        base=coin(base),
        quote=quote,
        kind="perp",
        channel=_SETTLED.get(quote, "usdt"),
        inverse=inverse,
        contract_size=1.0 if inverse else contract_size or None,
    )


def _is_settled_in_dollars_or_inverse(row: _Contract) -> bool:
    quote = row.name.partition("_")[2]
    return quote in _SETTLED and (quote == "USD") == (row.type == "inverse")


def _parse_spot_trades(frame: bytes) -> Sequence[Event]:
    """`{"time":1619093543,"channel":"spot.trades","event":"update","result":{"id":816995772,
    "create_time":1619093543,"create_time_ms":"1619093543708.2642","side":"sell",
    "currency_pair":"DIS_USDT","amount":"0.2010000000","price":"121.5800000000"}}` (side: taker)
    """
    result = _spot_trades.decode(frame).result
    rows = result if isinstance(result, list) else [result]
    return [_spot_trade(row) for row in rows]


def _parse_trades(frame: bytes) -> Sequence[Event]:
    """`{"time":1545136464,"time_ms":1545136464123,"channel":"futures.trades","event":"update",
    "result":[{"size":-108,"id":27753479,"create_time":1545136464,"create_time_ms":1545136464123,
    "price":"96.4","contract":"BTC_USD"}]}` (a negative size: the taker sold)

    Unconfirmed: `is_internal` marks what the insurance fund or the deleveraging took over.
    """
    return [_trade(row) for row in _trades.decode(frame).result if not row.is_internal]


def _parse_liquidations(frame: bytes) -> Sequence[Event]:
    """`{"channel":"futures.public_liquidates","event":"update","time":1541505434,
    "time_ms":1541505434123,"result":[{"price":"215.1","size":"-124.5","time":1541486601123,
    "contract":"BTC_USDT"}]}`, before August 2026 one order for `result`, without the list

    Unconfirmed: a negative size is a forced sell; the documentation leaves the sign open.
    """
    result = _liquidations.decode(frame).result
    rows = result if isinstance(result, list) else [result]
    return [
        Liquidation(
            q.contract,
            int(q.time * 1000 if q.time < _SECONDS_END else q.time),
            q.price,
            abs(q.size),
            q.size > 0,
        )
        for q in rows
    ]


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"time":1619093532,"channel":"spot.trades","event":"subscribe",
    "result":{"status":"success"}}`, `{"time":1739853211,"channel":"spot.trades",
    "event":"subscribe","payload":["X_USDT"],"error":{"code":2,"message":"unknown currency pair:
    X_USDT"},"result":{"status":"fail"}}`
    """
    answer = _answer.decode(frame)
    if answer.event != "subscribe":
        return NOTHING
    if answer.error is None:
        return (Ack(),)
    # One pair that does not exist is enough: none of the others is subscribed to either.
    wire = answer.payload[0] if len(answer.payload) == 1 else ""
    kind: StreamKind = "liquidations" if answer.channel.endswith("liquidates") else "trades"
    return (Rejection(answer.error.message.strip() or "refused", wire, kind),)
