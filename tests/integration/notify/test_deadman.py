"""The dead-man: a real receiver that raises the alarm when a real monitor is no longer heard."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core.settings import SystemMonitorSettings
from services.notify import deadman
from services.notify.deadman import DeadMan, Watched
from tests.integration.monitor.support import service_env
from tests.integration.notify.support import eventually
from tests.integration.servers import free_port

TOKEN = "Token0123456789"
SCALE = 60
"""The tests' minute has so many times less seconds."""
INTERVAL_S = 60 // SCALE
ALARM_S = 180 / SCALE
"""The receiver raises the alarm when nothing came for so long: three minutes in full."""


class Receiver:
    """What healthchecks.io is: knows only when it was called last."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 200
        self.calls: list[float] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get(f"/{TOKEN}", self._called)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until_called(self, more: int) -> None:
        wanted = len(self.calls) + more
        await eventually(lambda: len(self.calls) >= wanted, timeout_s=40)

    async def until_alarm(self) -> None:
        """Wait until nothing has come for too long."""
        while (left_s := self.calls[-1] + ALARM_S - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)

    async def _called(self, _: web.Request) -> web.Response:
        self.calls.append(time.monotonic())
        await self.answer.wait()
        return web.Response(status=self.status, text="OK")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    receiver.answer.set()
    await receiver.stop()


@pytest.fixture
async def monitor(
    connection_env: dict[str, str], tmp_path: Path, receiver: Receiver
) -> AsyncIterator[Process]:
    (tmp_path / "deadman_url").write_text(f"{receiver.url}\n")
    environ = service_env(
        connection_env,
        tmp_path,
        LOG_LEVEL="DEBUG",
        MONITOR_INTERVAL_S="1",
        STACK_SERVICES="redis,system-monitor",
        DEADMAN_URL_FILE=str(tmp_path / "deadman_url"),
        DEADMAN_INTERVAL_S=str(INTERVAL_S),
    )
    with (tmp_path / "log").open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.system_monitor", env=environ, stdout=file, stderr=STDOUT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_M2_a_monitor_that_is_killed_is_missed_outside(
    monitor: Process, receiver: Receiver, redis: Redis, tmp_path: Path
) -> None:
    await receiver.until_called(2)
    monitor.kill()
    await monitor.wait()
    killed = time.monotonic()
    await receiver.until_alarm()
    # The last call was on its way at the latest, so the alarm comes within the three minutes.
    assert receiver.calls[-1] < killed + 1
    told = str([await redis.get(key) for key in await redis.keys("*heartbeat*")])
    assert "system-monitor" in told
    assert TOKEN not in told + (tmp_path / "log").read_text()


async def test_M2_a_monitor_that_is_frozen_is_missed_outside_until_it_goes_on(
    monitor: Process, receiver: Receiver
) -> None:
    await receiver.until_called(2)
    os.kill(monitor.pid, signal.SIGSTOP)
    calls = len(receiver.calls)
    await receiver.until_alarm()
    assert len(receiver.calls) <= calls + 1  # one may have been on its way
    os.kill(monitor.pid, signal.SIGCONT)
    await receiver.until_called(1)


class Hanging:
    """Rounds that come to no end any more once `hang` is set."""

    status = "ok"

    def __init__(self) -> None:
        self.hang = False

    async def round(self) -> None:
        await asyncio.sleep(3600 if self.hang else 0.05)


async def test_M2_a_monitor_whose_rounds_hang_is_missed_outside(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadman, "FRESH_S", deadman.FRESH_S / SCALE)
    settings = SystemMonitorSettings(
        deadman_url=receiver.url, deadman_interval_s=1, monitor_interval_s=1
    )
    man, work, stop = DeadMan(settings), Hanging(), asyncio.Event()
    watched = Watched(work, man)

    async def rounds() -> None:
        while True:
            await watched.round()

    tasks = [asyncio.create_task(rounds()), asyncio.create_task(man.run(stop))]
    try:
        await receiver.until_called(2)
        work.hang = True
        await receiver.until_alarm()
    finally:
        stop.set()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_M2_a_call_that_fails_is_made_again_and_told_without_its_secret(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(deadman, "FIRST_DELAY_S", 0.1)
    settings = SystemMonitorSettings(deadman_url=receiver.url, deadman_interval_s=300)
    man, stop = DeadMan(settings), asyncio.Event()
    man.turned()
    running = asyncio.create_task(man.run(stop))
    receiver.status = 500
    await receiver.until_called(2)
    assert man.problem.endswith("UTC: it answers 500")
    assert man.problem.startswith("the dead-man address was not reached since 20")
    await receiver.stop()
    await eventually(lambda: "Cannot connect to host" in man.problem)
    assert Watched(Hanging(), man).status == man.problem
    assert TOKEN not in man.problem
    receiver.status = 200
    await receiver.start()
    await eventually(lambda: not man.problem, timeout_s=40)
    stop.set()
    await running
    lines = [r.getMessage() for r in caplog.records if r.name == deadman.__name__]
    assert [line.split(" reason=")[0] for line in lines] == [
        "dead-man address not reached",
        "dead-man address reached again",
    ]
    assert TOKEN not in caplog.text


async def test_M2_an_address_that_hangs_holds_up_neither_rounds_nor_the_end(
    monitor: Process, receiver: Receiver, influx: InfluxClient, tmp_path: Path
) -> None:
    receiver.answer.clear()
    await receiver.until_called(1)
    alive = tmp_path / "system-monitor.alive"
    first = alive.stat().st_mtime_ns
    rounds = await points(influx)
    await eventually(lambda: alive.stat().st_mtime_ns > first, timeout_s=40)
    await eventually(lambda: more_points(influx, rounds), timeout_s=40)
    monitor.terminate()
    began = time.monotonic()
    assert await monitor.wait() == 0
    assert time.monotonic() - began < deadman.TIMEOUT_S
    receiver.answer.set()


async def points(influx: InfluxClient) -> int:
    rows = await influx.query("SELECT count(load_1m) AS n FROM host_stats")
    return int(rows[0]["n"]) if rows else 0


async def more_points(influx: InfluxClient, than: int) -> bool:
    return await points(influx) > than
