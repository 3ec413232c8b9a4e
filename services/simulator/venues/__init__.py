"""The venues that are simulated; one file each, and nothing but their dialects in it."""

from __future__ import annotations

from services.simulator.connections import Hub
from services.simulator.instruments import Instrument
from services.simulator.market import Market
from services.simulator.venues import binance, binance_futures, bybit, coinbase, okex
from services.simulator.venues.base import Venue

_MODULES = (binance, binance_futures, bybit, okex, coinbase)

INSTRUMENTS: tuple[Instrument, ...] = tuple(i for m in _MODULES for i in m.INSTRUMENTS)


def create(market: Market, hub: Hub) -> tuple[Venue, ...]:
    """One of each."""
    return (
        binance.Binance(market, hub),
        binance_futures.BinanceFutures(market, hub),
        bybit.Bybit(market, hub),
        okex.Okex(market, hub),
        coinbase.Coinbase(market, hub),
    )


__all__ = ["INSTRUMENTS", "Venue", "create"]
