"""Entry point of health-monitor: `python -m services.health_monitor`."""

from __future__ import annotations

import asyncio
import functools

from aiohttp import web

from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient
from services.core import service
from services.core.clients import redis_client
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import HealthMonitorSettings
from services.dashboard.page import Page
from services.monitor.checks import Checker
from services.monitor.facts import FactsReader
from services.monitor.web import Health
from services.trading.crew import Crew

NAME = "health-monitor"
INTERVAL_S = 2.0
REDIS_TIMEOUT_S = 1.0


class Rounds:
    """Looks at the services, and shows them on the page."""

    def __init__(self, health: Health, page: Page) -> None:
        self._health = health
        self._page = page

    @property
    def status(self) -> str:
        """For the heartbeat."""
        return self._health.status

    async def round(self) -> None:
        """Once."""
        await self._health.round()
        if (newest := self._health.newest) is not None:
            self._page.overview(newest)


async def main(settings: HealthMonitorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises `SettingsError` if the port is taken, and whatever a part
    of the page fails with."""
    page = Page(settings)
    redis = redis_client(settings, socket_timeout_s=REDIS_TIMEOUT_S)
    pulse = Pulse(NAME, settings, redis)
    crew = Crew()
    async with InfluxClient(settings) as influx:
        checker = Checker(settings, redis, influx)
        health = Health(checker, FactsReader(redis))
        application = web.Application()
        health.add_routes(application)
        page.add_to(application)
        runner = web.AppRunner(application, access_log=None)
        try:
            await runner.setup()
            await listen(runner, settings)
            rounds = Rounds(health, page)
            crew.start(functools.partial(repeat, rounds, pulse, stop, INTERVAL_S))
            for part in page.parts():
                crew.start(part)
            await crew.until(stop)
        finally:
            await runner.cleanup()
            await page.close()
            await checker.close()
            await redis.aclose()


async def listen(runner: web.AppRunner, settings: HealthMonitorSettings) -> None:
    """Open the port. Raises `SettingsError` if that cannot be done."""
    address, port = settings.bind_address, settings.health_port
    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        raise SettingsError(
            f"HEALTH_PORT={port}: cannot listen on {address}:{port} ({error.strerror}). Stop the "
            "program that uses the port, or set another HEALTH_PORT in .env."
        ) from error


if __name__ == "__main__":
    service.run(NAME, HealthMonitorSettings, main)
