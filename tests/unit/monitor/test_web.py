"""`/health` and `/metrics` when the look at the services is old, or has not been taken."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.monitor.checks import Checker
from services.monitor.states import Overview, ServiceState, overview
from services.monitor.web import STALE_S, Health


class Looks:
    """Stands in for the checks: a service that is up, as seen `age_s` ago."""

    def __init__(self) -> None:
        self.age_s = 0.0
        self.taken = 0

    async def check_all(self) -> Overview:
        self.taken += 1
        state = ServiceState(state="up", age_ms=10, detail="well")
        return overview({"redis": state}, int((time.time() - self.age_s) * 1000))


Get = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def health(looks: Looks) -> Health:
    return Health(cast(Checker, looks))


@pytest.fixture
async def get(health: Health) -> AsyncIterator[Get]:
    application = web.Application()
    health.add_routes(application)
    async with TestClient(TestServer(application)) as client:

        async def get(path: str) -> tuple[int, str]:
            async with client.get(path) as response:
                assert response.headers["Cache-Control"] == "no-store"
                return response.status, await response.text()

        yield get


async def test_before_the_first_look_nothing_is_known(get: Get) -> None:
    assert (await get("/health"))[0] == 503
    assert (await get("/health/redis"))[0] == 503
    status, text = await get("/metrics")
    assert status == 200
    assert "squeezeflow_" not in text


async def test_many_readers_cost_one_look(get: Get, health: Health, looks: Looks) -> None:
    await health.round()
    for _ in range(20):
        assert (await get("/health"))[0] == 200
        assert (await get("/health/redis"))[0] == 200
        assert 'squeezeflow_service_up{service="redis"} 1.0' in (await get("/metrics"))[1]
    assert looks.taken == 1


async def test_a_loop_that_hangs_is_no_health(get: Get, health: Health, looks: Looks) -> None:
    looks.age_s = STALE_S + 1
    await health.round()
    status, text = await get("/health")
    assert (status, "not looked at lately" in text) == (503, True)
    assert (await get("/health/redis"))[0] == 503
    status, text = await get("/metrics")
    assert (status, "squeezeflow_service_up" in text) == (200, False)
    looks.age_s = 0.0
    await health.round()
    assert "squeezeflow_service_up" in (await get("/metrics"))[1]
