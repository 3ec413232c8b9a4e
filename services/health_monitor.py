"""Entry point of health-monitor: `python -m services.health_monitor`."""

from __future__ import annotations

import asyncio

from aiohttp import web

from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient
from services.core import service
from services.core.clients import redis_client
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import MonitorSettings
from services.monitor.checks import Checker
from services.monitor.facts import FactsReader
from services.monitor.web import Health

NAME = "health-monitor"
INTERVAL_S = 2.0
REDIS_TIMEOUT_S = 1.0


async def main(settings: MonitorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises `SettingsError` if the port is taken."""
    redis = redis_client(settings, socket_timeout_s=REDIS_TIMEOUT_S)
    pulse = Pulse(NAME, settings, redis)
    async with InfluxClient(settings) as influx:
        checker = Checker(settings, redis, influx)
        health = Health(checker, FactsReader(redis))
        runner = web.AppRunner(health.application(), access_log=None)
        try:
            await runner.setup()
            await listen(runner, settings)
            await repeat(health, pulse, stop, INTERVAL_S)
        finally:
            await runner.cleanup()
            await checker.close()
            await redis.aclose()


async def listen(runner: web.AppRunner, settings: MonitorSettings) -> None:
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
    service.run(NAME, MonitorSettings, main)
