"""What ends health-monitor."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services import health_monitor
from services.core.settings import HealthMonitorSettings
from services.dashboard.page import Page
from tests.integration.servers import free_port


async def test_a_part_of_the_page_that_fails_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fails() -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Page, "parts", lambda page: (fails,))
    settings = HealthMonitorSettings(
        redis_port=1,
        influx_port=1,
        health_port=free_port(),
        stack_services=("health-monitor",),
        heartbeat_dir=str(tmp_path),
    )
    async with asyncio.timeout(30):
        with pytest.raises(ValueError, match="a bug"):
            await health_monitor.main(settings, asyncio.Event())
