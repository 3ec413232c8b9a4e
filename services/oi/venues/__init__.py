"""Open interest as each venue publishes it, brought to base coins and dollars, one-sided.

One file per venue: which requests are made, and how their answers are read. HitBTC is left out:
nothing says whether its figure is in coins or in dollars.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.oi.venues.base import Found, Venue, VenueError
from services.oi.venues.binance import ASTER, BINANCE_FUTURES
from services.oi.venues.bitfinex import BITFINEX
from services.oi.venues.bitget import BITGET
from services.oi.venues.bybit import BYBIT
from services.oi.venues.client import VenueClient
from services.oi.venues.cryptocom import CRYPTOCOM
from services.oi.venues.deribit import DERIBIT
from services.oi.venues.dydx import DYDX
from services.oi.venues.gateio import GATEIO
from services.oi.venues.gemini import GEMINI
from services.oi.venues.huobi import HUOBI
from services.oi.venues.hyperliquid import HYPERLIQUID
from services.oi.venues.kraken import KRAKEN
from services.oi.venues.kucoin import KUCOIN
from services.oi.venues.mexc import MEXC
from services.oi.venues.okx import OKX
from services.oi.venues.phemex import PHEMEX

__all__ = ["ALIASES", "VENUES", "Found", "Venue", "VenueClient", "VenueError", "canonical"]

VENUES: Mapping[str, Venue] = {
    venue.name: venue
    for venue in (
        BINANCE_FUTURES,
        BYBIT,
        OKX,
        DERIBIT,
        PHEMEX,
        BITFINEX,
        BITGET,
        KUCOIN,
        HUOBI,
        GATEIO,
        HYPERLIQUID,
        GEMINI,
        KRAKEN,
        DYDX,
        CRYPTOCOM,
        MEXC,
        ASTER,
    )
}

ALIASES: Mapping[str, str] = {"OKEX": "OKX", "GATE": "GATEIO", "HTX": "HUOBI"}
"""Other names of the same venues, such as the collector's."""


def canonical(name: str) -> str:
    """The name under which a venue's open interest is stored."""
    return ALIASES.get(name, name)
