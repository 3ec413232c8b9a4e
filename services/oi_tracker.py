"""Entry point of oi-tracker: `python -m services.oi_tracker`."""

from __future__ import annotations

import asyncio

from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient
from services.core import service
from services.core.clients import redis_client
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import OpenInterestSettings
from services.market.symbols import symbol_of
from services.oi.tracker import Tracker
from services.oi.venues import VENUES, VenueClient

NAME = "oi-tracker"


async def main(settings: OpenInterestSettings, stop: asyncio.Event) -> None:
    """Sample until `stop` is set; raises if a round fails in a way nobody foresaw."""
    check(settings)
    clients = [VenueClient(VENUES[n], settings.exchange_gateway) for n in settings.oi_exchanges]
    redis = redis_client(settings)
    pulse = Pulse(NAME, settings, redis)
    try:
        async with InfluxClient(settings) as influx:
            tracker = Tracker(settings.aggr_symbols, clients, redis, influx)
            await repeat(
                tracker,
                pulse,
                stop,
                settings.oi_interval_s,
                details=lambda: {"samples": tracker.samples},
            )
    finally:
        for client in clients:
            await client.close()
        await redis.aclose()


def check(settings: OpenInterestSettings) -> None:
    """Raises `SettingsError` for a venue or a symbol that does not exist."""
    for name in settings.oi_exchanges:
        if name not in VENUES:
            known = ", ".join(VENUES)
            raise SettingsError(f"OI_EXCHANGES={name!r}: known are {known}. Correct it in .env.")
    for base in settings.aggr_symbols:
        try:
            symbol_of(base)
        except ValueError as error:
            raise SettingsError(f"AGGR_SYMBOLS: {error}. Correct it in .env.") from error


if __name__ == "__main__":
    service.run(NAME, OpenInterestSettings, main)
