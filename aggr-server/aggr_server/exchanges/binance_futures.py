"""Binance futures: USD-M is collected; frames and symbols of COIN-M are understood as well.

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aggr_server.exchanges.base import (
    Adapter,
    Channel,
    Event,
    Instrument,
    Liquidation,
    Page,
    Past,
    Request,
    Stream,
    Subscription,
    Trade,
    Window,
    coin,
    split_pair,
)
from aggr_server.exchanges.binance import (
    PAIR_QUOTES,
    parse_trade,
    past,
    read_past,
    subscribe,
)
from aggr_server.wire import Kind

_PERPETUAL = ("PERPETUAL", "TRADIFI_PERPETUAL")
_STREAMS = {"trades": "aggTrade", "liquidations": "forceOrder"}
_AGG_TRADES = {
    "usdm": "https://fapi.binance.com/fapi/v1/aggTrades",
    "coinm": "https://dapi.binance.com/dapi/v1/aggTrades",
}


class _Order(msgspec.Struct, gc=False):
    s: str
    S: Literal["BUY", "SELL"]
    p: float
    ap: float
    q: float
    z: float
    T: int


class _ForceOrder(msgspec.Struct, gc=False):
    o: _Order


class _ForceOrderFrame(msgspec.Struct, gc=False):
    data: _ForceOrder


class _Symbol(msgspec.Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    contractType: str
    status: str = ""
    contractStatus: str = ""
    contractSize: float | None = None


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


_force_order = msgspec.json.Decoder(_ForceOrder, strict=False)
_force_order_frame = msgspec.json.Decoder(_ForceOrderFrame, strict=False)
_exchange_info = msgspec.json.Decoder(_ExchangeInfo)


class BinanceFutures(Adapter):
    """Linear contracts: sizes in base coins. Inverse (`BTCUSD_PERP`): contracts of fixed USD."""

    name = "BINANCE_FUTURES"
    aliases = ("BINANCE_DELIVERY",)
    channels = {  # noqa: RUF012
        # Only this path carries @aggTrade and @forceOrder; any other one acknowledges them too,
        # and then stays silent.
        "usdm": Channel(
            url="wss://fstream.binance.com/market/ws",
            max_streams=200,
            carries=("trades", "liquidations"),
        ),
    }
    discovery = (Request("https://fapi.binance.com/fapi/v1/exchangeInfo"),)
    # A page of the past weighs 20 of the 2400 that an address has for a minute.
    rest_spacing_s = 0.6
    lifetime_s = 86_400.0
    gapless = True
    recordings = ("BINANCE-USDM", "BINANCE-COINM")

    def instruments(self, body: bytes) -> Page:
        """`{"symbols":[{"symbol":"BTCUSDT","baseAsset":"BTC","quoteAsset":"USDT",
        "contractType":"PERPETUAL","status":"TRADING"}]}`; COIN-M: contractStatus, contractSize
        """
        return Page(
            [
                Instrument(
                    symbol=row.symbol.lower(),
                    wire=row.symbol,
                    base=coin(row.baseAsset),
                    quote=row.quoteAsset,
                    kind="perp" if row.contractType in _PERPETUAL else "future",
                    channel="usdm" if row.contractSize is None else "coinm",
                    inverse=row.contractSize is not None,
                    contract_size=1.0 if row.contractSize is None else row.contractSize,
                )
                for row in _exchange_info.decode(body).symbols
                if "TRADING" in (row.status, row.contractStatus)
            ]
        )

    def subscriptions(self, channel: str, streams: Sequence[Stream]) -> list[Subscription]:
        return subscribe([f"{s.instrument.symbol}@{_STREAMS[s.kind]}" for s in streams], 100)

    def parse(self, frame: bytes) -> Sequence[Event]:
        """Besides trades: `{"e":"forceOrder","E":1698871323061,"o":{"s":"BTCUSDT","S":"BUY",
        "o":"LIMIT","f":"IOC","q":"1.437","p":"35100.81","ap":"34959.70","X":"FILLED",
        "l":"1.437","z":"1.437","T":1698871323059}}`

        S is the side of the forced order; z what was filled, at the average price ap.
        """
        if b'"forceOrder"' not in frame:
            return parse_trade(frame)
        wrapped = b'"data"' in frame
        event = _force_order_frame.decode(frame).data if wrapped else _force_order.decode(frame)
        order = event.o
        price, size = order.ap or order.p, order.z or order.q
        return (Liquidation(order.s, order.T, price, size, order.S == "BUY"),)

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        pair, _, term = wire.partition("_")
        base, quote = split_pair(pair, PAIR_QUOTES)
        inverse = quote == "USD"
        kind: Kind = "perp" if term in ("", "PERP") else "future"
        size = (100.0 if base == "BTC" else 10.0) if inverse else 1.0
        return Instrument(
            symbol=wire.lower(),
            wire=wire,
            base=coin(base),
            quote=quote,
            kind=kind,
            channel="coinm" if inverse else "usdm",
            inverse=inverse,
            contract_size=size,
        )

    def past(self, instrument: Instrument, window: Window) -> Request:
        return past(_AGG_TRADES[instrument.channel], instrument, window)

    def read_past(self, instrument: Instrument, window: Window, body: bytes) -> Past:
        return read_past(_AGG_TRADES[instrument.channel], instrument, window, body)

    def wire_symbol(self, text: str) -> str:
        return text.upper().replace("-", "_")
