"""Binance.US, spot: the dialect of Binance at other hosts.

https://docs.binance.us/#websocket-streams
"""

from __future__ import annotations

from services.simulator.instruments import Instrument
from services.simulator.venues.binance import BinanceSpot

INSTRUMENTS = (
    Instrument("BINANCE_US:btcusdt", "BTC", "USDT", "spot", "BTCUSDT", 2, 5, 0.02, 1.5, 1.2,
               quiet=0.3, apart=True),
    Instrument("BINANCE_US:ethusdt", "ETH", "USDT", "spot", "ETHUSDT", 2, 4, 0.02, 1.2, 1.2,
               quiet=0.4, apart=True),
)  # fmt: skip


class BinanceUs(BinanceSpot):
    """A quiet venue: many seconds without a trade."""

    name = "BINANCE_US"
    instruments = INSTRUMENTS
    sockets = ("stream.binance.us",)
    apis = ("api.binance.us",)
