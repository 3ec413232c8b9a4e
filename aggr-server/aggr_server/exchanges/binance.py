"""Binance spot. https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams"""

from __future__ import annotations

from aggr_server.exchanges.base import Channel, Request
from aggr_server.exchanges.binance_dialect import BinanceDialect


class Binance(BinanceDialect):
    """Spot; sizes in base coins."""

    name = "BINANCE"
    channels = {  # noqa: RUF012
        "spot": Channel(url="wss://stream.binance.com:9443/ws", max_streams=200)
    }
    discovery = (Request("https://api.binance.com/api/v3/exchangeInfo?permissions=SPOT"),)
    agg_trades = {"spot": "https://api.binance.com/api/v3/aggTrades"}  # noqa: RUF012
    # 300 connections in 5 minutes; 5 messages a second, answers to pings among them; a page of
    # the past weighs 4 of 6000 for a minute.
    connect_spacing_s = 1.1
    message_spacing_s = 0.25
    rest_spacing_s = 0.1
    gapless = True
    recordings = ("BINANCE-SPOT",)
