"""Phemex. https://phemex-docs.github.io/#subscribe-trade"""

from __future__ import annotations

from collections.abc import Sequence
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
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    encode,
    split_pair,
)

Family = Literal["spot", "v1", "v2"]
Side = Literal["Buy", "Sell"]
Row = tuple[int, Side, float, float]

_REST = "https://api.phemex.com"
_QUOTES = ("USDT", "USDC", "USD", "BTC", "ETH", "EUR", "BRZ")
_SPOT_SCALE = 8
_V1_SCALE = 4
_TYPES: dict[str, Family] = {"Spot": "spot", "Perpetual": "v1", "PerpetualV2": "v2"}


class _ScaledTrades(msgspec.Struct, gc=False):
    symbol: str
    trades: list[Row]


class _Trades(msgspec.Struct, gc=False):
    symbol: str
    trades_p: list[Row]


class _Status(msgspec.Struct):
    status: str = ""


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None
    result: _Status | str | None = None


class _Product(msgspec.Struct):
    symbol: str
    type: str
    status: str
    quoteCurrency: str
    priceScale: int = 0
    baseCurrency: str = ""
    contractUnderlyingAssets: str = ""
    settleCurrency: str = ""
    contractSize: float | str = 1.0


class _Currency(msgspec.Struct):
    currency: str
    valueScale: int = _SPOT_SCALE


class _Products(msgspec.Struct):
    products: list[_Product] = []
    perpProductsV2: list[_Product] = []
    currencies: list[_Currency] = []


class _ProductsAnswer(msgspec.Struct):
    code: int
    data: _Products | None = None
    msg: str = ""


class _Past(msgspec.Struct):
    trades: list[list[int | float | str]] = []
    trades_p: list[list[int | float | str]] = []


class _PastAnswer(msgspec.Struct):
    result: _Past


# Plain prices travel as text, scaled ones as numbers: lax decoding takes both.
_scaled_trades = msgspec.json.Decoder(_ScaledTrades, strict=False)
_trades = msgspec.json.Decoder(_Trades, strict=False)
_answer = msgspec.json.Decoder(_Answer)
_products = msgspec.json.Decoder(_ProductsAnswer)
_past = msgspec.json.Decoder(_PastAnswer)


class Phemex(Adapter):
    """Spot and V2 contracts: sizes in base coins. V1: inverse of one USD, or linear contracts.

    Prices and sizes of spot and V1 are whole numbers; their scale follows from the symbol. A market
    whose list entry says otherwise has an unknown contract size.
    """

    name = "PHEMEX"
    channels = {  # noqa: RUF012
        # Unconfirmed: at most 20 subscriptions a connection, 5 connections (documentation of 2024).
        "public": Channel(url="wss://ws.phemex.com", max_streams=20)
    }
    discovery = (Request(f"{_REST}/public/products"),)
    ping_interval_s = 9.0
    message_spacing_s = 0.1
    rest_spacing_s = 0.6

    def instruments(self, body: bytes) -> Page:
        """`{"code":0,"data":{"currencies":[{"currency":"BTC","valueScale":8}],"products":[{
        "symbol":"BTCUSD","type":"Perpetual","contractUnderlyingAssets":"USD","settleCurrency":
        "BTC","quoteCurrency":"USD","contractSize":1.0,"priceScale":4,"status":"Listed"},{"symbol":
        "sBTCUSDT","type":"Spot","baseCurrency":"BTC","quoteCurrency":"USDT","priceScale":8,
        "status":"Listed"}],"perpProductsV2":[{"symbol":"BTCUSDT","type":"PerpetualV2",
        "contractUnderlyingAssets":"BTC","quoteCurrency":"USDT","status":"Listed"}]}}`
        """
        answer = _products.decode(body)
        if answer.code != 0 or answer.data is None:
            raise msgspec.ValidationError(f"code {answer.code}: {answer.msg}")
        data = answer.data
        scales = {row.currency: row.valueScale for row in data.currencies}
        return Page(
            [
                _instrument(row, _TYPES[row.type], scales)
                for row in (*data.products, *data.perpProductsV2)
                if row.status == "Listed" and row.type in _TYPES
            ]
        )

    def ping(self, channel: str, now_s: int) -> str:
        return '{"id":0,"method":"server.ping","params":[]}'

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return [
            Subscription(
                encode(
                    {
                        "id": number,
                        "method": "trade.subscribe" if _is_scaled(wire) else "trade_p.subscribe",
                        "params": [wire],
                    }
                )
            )
            for number, wire in enumerate((s.instrument.wire for s in streams), start=1)
        ]

    def parse(self, frame: bytes) -> Sequence[Event]:
        """`{"sequence":146074875,"symbol":"sSUSHIUSDT","trades":[[1625342244127840967,"Buy",
        769100000,168200000]],"type":"incremental"}` (time in ns, taker, scaled price and size)

        `{"sequence":1230197759,"symbol":"BTCUSDT","trades_p":[[1677094244729433000,"Buy",
        "23800.4","2.455"]],"type":"incremental"}`

        Old trades come first, in a frame of the type `snapshot`.
        """
        if b'"trades' in frame:
            if b'"incremental"' not in frame:
                return NOTHING
            if b'"trades_p"' in frame:
                plain = _trades.decode(frame)
                return _read(plain.symbol, plain.trades_p)
            scaled = _scaled_trades.decode(frame)
            return _read(scaled.symbol, scaled.trades)
        return _parse_answer(frame) if b'"id"' in frame else NOTHING

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        """sBTCUSDT: spot. BTCUSDT: V2. BTCUSD, cETHUSD: V1, inverse. ETHUSD, uBTCUSD: V1, linear.

        The contracts of V1 differ in size; only that of BTCUSD is known without the list.
        """
        family = _family(wire)
        pair = wire[1:] if wire[:1] in ("s", "c", "u") else wire
        base, quote = split_pair(pair, _QUOTES)
        inverse = family == "v1" and (wire == "BTCUSD" or wire.startswith("c"))
        return Instrument(
            symbol=wire,
            wire=wire,
            base=coin(base),
            quote=quote,
            kind="spot" if family == "spot" else "perp",
            channel="public",
            inverse=inverse,
            contract_size=None if family == "v1" and wire != "BTCUSD" else 1.0,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        path = "/v1/md/trade" if _is_scaled(instrument.wire) else "/md/v2/trade"
        return Request(f"{_REST}{path}?symbol={instrument.wire}")

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        """`{"error":null,"id":0,"result":{"sequence":1315644947,"symbol":"BTCUSD","trades":[[
        1592541746712239749,13156448570000,"Buy",93070000,40173]],"type":"snapshot"}}` (V1 and spot:
        time in ns, sequence, taker, scaled price and size; the sequence may be missing)

        `{"error":null,"id":0,"result":{"symbol":"BTCUSDT","trades_p":[[1675690986063435800,"Sell",
        "22857.4","0.269"]],"type":"snapshot"}}`
        """
        result = _past.decode(body).result
        trades = _read(
            instrument.wire, [_past_row(row) for row in (*result.trades, *result.trades_p)]
        )
        # Trades of the same millisecond as the oldest one may have been cut off.
        return Past(trades, since_ms=trades[0].ts_ms + 1 if trades else window.to_ms)


def _family(wire: str) -> Family:
    """Only a small s means spot; contracts quoted in USD are of the first version."""
    if wire.startswith("s"):
        return "spot"
    return "v1" if wire.endswith("USD") else "v2"


def _is_scaled(wire: str) -> bool:
    return _family(wire) != "v2"


def _instrument(row: _Product, family: Family, scales: dict[str, int]) -> Instrument:
    underlying = row.contractUnderlyingAssets
    inverse = family == "v1" and underlying == row.quoteCurrency
    base = row.settleCurrency if inverse else row.baseCurrency or underlying.split(" ")[-1]
    size: float | None = 1.0
    if family == "v1":
        size = _number(row.contractSize) if row.priceScale == _V1_SCALE else None
    elif family == "spot":
        scale = scales.get(row.baseCurrency, _SPOT_SCALE)
        size = 10.0 ** (_SPOT_SCALE - scale) if row.priceScale == _SPOT_SCALE else None
    if family != _family(row.symbol):
        size = None
    return Instrument(
        symbol=row.symbol,
        wire=row.symbol,
        base=coin(base),
        quote=row.quoteCurrency,
        kind="spot" if family == "spot" else "perp",
        channel="public",
        inverse=inverse,
        contract_size=size,
    )


def _number(text: float | str) -> float | None:
    """1.0, or `0.005 ETH`."""
    try:
        return float(str(text).split(" ")[0])
    except ValueError:
        return None


def _read(wire: str, rows: Sequence[Row]) -> list[Trade]:
    """Trades, oldest first. The venue numbers none: equal ones of a nanosecond are counted.

    Unconfirmed: that the trades of one nanosecond travel in one frame, and in the order in which
    snapshots have them, newest first.
    """
    family = _family(wire)
    price_unit = {"spot": 10.0**_SPOT_SCALE, "v1": 10.0**_V1_SCALE, "v2": 1.0}[family]
    size_unit = 10.0**_SPOT_SCALE if family == "spot" else 1.0
    trades: list[Trade] = []
    equal: dict[Row, int] = {}
    for row in sorted(reversed(rows), key=lambda row: row[0]):
        time_ns, side, price, size = row
        place = equal[row] = equal.get(row, -1) + 1
        id = f"{time_ns}/{side}/{price}/{size}/{place}"
        trades.append(
            Trade(
                wire,
                time_ns // 1_000_000,
                price / price_unit,
                size / size_unit,
                side == "Buy",
                id,
                time_ns,
            )
        )
    return trades


def _past_row(row: list[int | float | str]) -> Row:
    if len(row) == 5:
        row = [row[0], *row[2:]]
    read: Row = msgspec.convert(row, Row, strict=False)
    return read


def _parse_answer(frame: bytes) -> Sequence[Event]:
    """`{"error":null,"id":1,"result":{"status":"success"}}`,
    `{"error":null,"id":0,"result":"pong"}`,
    `{"error":{"code":6001,"message":"invalid argument"},"id":1,"result":null}`
    """
    answer = _answer.decode(frame)
    if answer.error is not None:
        return (Rejection(f"{answer.error.code} {answer.error.message}".strip()),)
    if isinstance(answer.result, _Status) and answer.result.status == "success":
        return (Ack(),)
    return NOTHING
