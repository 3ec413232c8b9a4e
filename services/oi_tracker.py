"""Entry point of oi-tracker: `python -m services.oi_tracker`."""

from __future__ import annotations

import asyncio
from logging import getLogger

from aggr_server import clock
from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient
from aggr_server.log import kv
from services.core import service
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import OpenInterestSettings
from services.market.symbols import symbol_of
from services.oi.tracker import Tracker
from services.oi.venues import VENUES, VenueClient, canonical

NAME = "oi-tracker"
ROUND_S = 1.0

_log = getLogger(__name__)


async def main(settings: OpenInterestSettings, stop: asyncio.Event) -> None:
    """Sample until `stop` is set; raises if a task fails in a way nobody foresaw."""
    clock.adjust(settings.simulated_clock)
    chosen = check(settings)
    clients = [VenueClient(VENUES[name], settings.exchange_gateway) for name in chosen]
    redis = redis_client(settings)
    outage = Outage("Redis", f"{settings.redis_host}:{settings.redis_port}")
    pulse = Pulse(NAME, settings, redis)
    try:
        async with InfluxClient(settings) as influx:
            tracker = Tracker(
                settings.aggr_symbols, clients, redis, influx,
                interval_s=settings.oi_interval_s, outage=outage,
            )  # fmt: skip
            await tracker.remember()
            async with asyncio.TaskGroup() as tasks:
                polling = [tasks.create_task(poller.run(stop)) for poller in tracker.pollers]
                await repeat(tracker, pulse, stop, ROUND_S, details=lambda: tracker.details)
                for task in polling:
                    task.cancel()
            await tracker.finish()
    finally:
        # Each takes a quarter of a second.
        await asyncio.gather(*(client.close() for client in clients))
        await redis.aclose()


def check(settings: OpenInterestSettings) -> list[str]:
    """The venues to ask, each once. Raises `SettingsError` for one, or a symbol, not known."""
    chosen = []
    for given in settings.oi_exchanges:
        name = canonical(given)
        if name not in VENUES:
            known = ", ".join(VENUES)
            raise SettingsError(f"OI_EXCHANGES={given!r}: known are {known}. Correct it in .env.")
        if name not in chosen:
            chosen.append(name)
    for base in settings.aggr_symbols:
        try:
            symbol_of(base)
        except ValueError as error:
            raise SettingsError(f"AGGR_SYMBOLS: {error}. Correct it in .env.") from error
    for name in chosen:
        if not VENUES[name].certain:
            _log.warning(
                "the unit of this venue's open interest is not confirmed %s", kv(name=name)
            )
    return chosen


if __name__ == "__main__":
    service.run(NAME, OpenInterestSettings, main)
