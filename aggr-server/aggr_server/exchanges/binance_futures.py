"""Binance futures, USD-M (linear) and COIN-M (inverse).

https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from aggr_server.exchanges.base import (
    Channel,
    Instrument,
    Liquidation,
    Page,
    Request,
    Trade,
    coin,
    split_pair,
)
from aggr_server.exchanges.binance_dialect import PAIR_QUOTES, BinanceDialect, trading
from aggr_server.wire import Kind


class BinanceFutures(BinanceDialect):
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
        "coinm": Channel(
            url="wss://dstream.binance.com/ws",
            max_streams=200,
            carries=("trades", "liquidations"),
        ),
    }
    discovery = (
        Request("https://fapi.binance.com/fapi/v1/exchangeInfo"),
        Request("https://dapi.binance.com/dapi/v1/exchangeInfo"),
    )
    agg_trades = {  # noqa: RUF012
        "usdm": "https://fapi.binance.com/fapi/v1/aggTrades",
        "coinm": "https://dapi.binance.com/dapi/v1/aggTrades",
    }
    # 300 connections in 5 minutes; 10 messages a second; a page of the past weighs 20 of 2400
    # for a minute.
    connect_spacing_s = 1.1
    message_spacing_s = 0.2
    rest_spacing_s = 0.6
    gapless = True
    recordings = ("BINANCE-USDM", "BINANCE-COINM")

    def instruments(self, body: bytes) -> Page:
        return Page(
            [
                _instrument(row.symbol, row.baseAsset, row.quoteAsset, row.kind, row.contractSize)
                for row in trading(body)
            ]
        )

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        pair, _, term = wire.partition("_")
        base, quote = split_pair(pair, PAIR_QUOTES)
        kind: Kind = "perp" if term in ("", "PERP") else "future"
        size = (100.0 if base == "BTC" else 10.0) if quote == "USD" else None
        return _instrument(wire, base, quote, kind, size)

    def wire_symbol(self, text: str) -> str:
        return text.upper().replace("-", "_")


def _instrument(
    wire: str, base: str, quote: str, kind: Kind, contract_usd: float | None
) -> Instrument:
    """`contract_usd`: what a contract is worth; None for linear ones."""
    inverse = contract_usd is not None
    return Instrument(
        symbol=wire.lower(),
        wire=wire,
        base=coin(base),
        quote=quote,
        kind=kind,
        channel="coinm" if inverse else "usdm",
        inverse=inverse,
        contract_size=1.0 if contract_usd is None else contract_usd,
    )
