"""Aster perpetuals. https://docs.asterdex.com/product/aster-perpetuals/api"""

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


class Aster(BinanceDialect):
    """Linear contracts; sizes in base coins.

    Unconfirmed: forced orders, their shape and side; that a connection is cut after a day; that
    the numbers of aggregated trades leave none out, so a jump proves nothing here.
    """

    name = "ASTER"
    channels = {  # noqa: RUF012
        "perp": Channel(
            url="wss://fstream.asterdex.com/ws",
            max_streams=200,
            carries=("trades", "liquidations"),
        )
    }
    discovery = (Request("https://fapi.asterdex.com/fapi/v3/exchangeInfo"),)
    agg_trades = {"perp": "https://fapi.asterdex.com/fapi/v3/aggTrades"}  # noqa: RUF012
    # 5 messages a second; a page of the past weighs 20 of about 2400 for a minute.
    connect_spacing_s = 1.1
    message_spacing_s = 0.25
    rest_spacing_s = 0.6

    def instruments(self, body: bytes) -> Page:
        return Page(
            [
                _instrument(row.symbol, row.baseAsset, row.quoteAsset, row.kind)
                for row in trading(body)
            ]
        )

    def assume(self, wire: str, event: Trade | Liquidation | None = None) -> Instrument:
        return _instrument(wire, *split_pair(wire, PAIR_QUOTES), "perp")


def _instrument(wire: str, base: str, quote: str, kind: Kind) -> Instrument:
    return Instrument(
        symbol=wire, wire=wire, base=coin(base), quote=quote, kind=kind, channel="perp"
    )
