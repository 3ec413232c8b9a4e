"""Binance.US spot. https://docs.binance.us/#websocket-streams"""

from __future__ import annotations

from aggr_server.exchanges.base import Channel, Request
from aggr_server.exchanges.binance_dialect import BinanceDialect


class BinanceUs(BinanceDialect):
    """Spot; sizes in base coins."""

    name = "BINANCE_US"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://stream.binance.us:9443/ws", max_streams=200)
    }
    discovery = (Request("https://api.binance.us/api/v3/exchangeInfo"),)
    agg_trades = {"spot": "https://api.binance.us/api/v3/aggTrades"}  # noqa: RUF012
    # Unconfirmed: limits of connections and messages, taken to be those of the same protocol
    # elsewhere. Documented: 1200 of REST weight for a minute.
    connect_spacing_s = 1.1
    message_spacing_s = 0.25
    rest_spacing_s = 0.25
    gapless = True
