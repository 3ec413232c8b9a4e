"""Fixtures of the monitors' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core.settings import SystemMonitorSettings
from services.monitor.checks import Checker
from tests.integration.monitor.support import Others, monitor_settings
from tests.integration.servers import free_port


@pytest.fixture
async def others() -> AsyncIterator[tuple[Others, str]]:
    pages = Others()
    runner = web.AppRunner(pages.application())
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield pages, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
def settings(
    connections: Connections, others: tuple[Others, str], tmp_path: Path
) -> SystemMonitorSettings:
    return monitor_settings(connections, others[1], tmp_path)


@pytest.fixture
async def checker(
    settings: SystemMonitorSettings, redis: Redis, influx: InfluxClient
) -> AsyncIterator[Checker]:
    checker = Checker(settings, redis, influx)
    yield checker
    await checker.close()
