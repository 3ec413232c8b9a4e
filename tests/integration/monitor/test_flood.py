"""Many faults at once, through the real monitor and Apprise to a real receiver."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.core import names
from tests.integration.children import bare
from tests.integration.monitor.support import prompt_rules, service_env
from tests.integration.notify.sink import Sink
from tests.integration.notify.support import eventually
from tests.integration.servers import ROOT, RedisServer

SERVICES = tuple(f"service-{number:02}" for number in range(20))
PULSES = ROOT / "tests" / "integration" / "monitor" / "pulses.py"
ROUNDS_S = 2.0
"""In so many seconds the monitor looks a few times, and would have told."""


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    await sink.start()
    yield sink
    await sink.stop()


class Stack:
    """Twenty processes that give signs of life."""

    def __init__(self, port: int) -> None:
        self.pids: dict[str, int] = {}
        self._port = port
        self._parents: list[Process] = []

    async def start(self) -> None:
        """All of them anew."""
        environ = {**bare(), "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server"}
        parent = await asyncio.create_subprocess_exec(
            sys.executable, str(PULSES), str(self._port), *SERVICES, env=environ, stdout=PIPE
        )
        self._parents.append(parent)
        assert parent.stdout is not None
        while (words := (await parent.stdout.readline()).decode().split())[0] != "all":
            self.pids[words[0]] = int(words[1])

    def kill(self) -> None:
        """All at once."""
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        self.pids.clear()

    async def end(self) -> None:
        for parent in self._parents:
            parent.kill()
            await parent.wait()


@pytest.fixture
async def stack(own_redis: RedisServer) -> AsyncIterator[Stack]:
    stack = Stack(own_redis.port)
    await stack.start()
    yield stack
    await stack.end()


@asynccontextmanager
async def monitoring(
    redis: RedisServer, influx_port: int, database: str, sink: Sink, folder: Path, **more: str
) -> AsyncIterator[None]:
    """The monitor at work, after it has seen every service well."""
    (folder / "notify_urls").write_text(sink.url)
    servers = {
        "REDIS_PORT": str(redis.port), "INFLUX_PORT": str(influx_port), "INFLUX_DATABASE": database
    }  # fmt: skip
    environ = service_env(
        servers,
        folder,
        MONITOR_INTERVAL_S="1",
        STACK_SERVICES=",".join(("redis", *SERVICES)),
        NOTIFY_URLS_FILE=str(folder / "notify_urls"),
        **more,
    )
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.system_monitor", env=environ, stdout=log, stderr=log
        )
    client = Redis(port=redis.port)
    try:
        await eventually(lambda: client.hlen(names.READINGS), timeout_s=40)
        yield
    finally:
        await client.aclose()
        process.terminate()
        assert await process.wait() == 0, (folder / "log").read_text()[-3000:]


async def test_M3_twenty_faults_at_once_are_twenty_messages_and_twenty_ends(
    own_redis: RedisServer,
    stack: Stack,
    influx_port: int,
    influx_database: str,
    sink: Sink,
    tmp_path: Path,
) -> None:
    rules = str(prompt_rules(tmp_path))
    async with monitoring(
        own_redis, influx_port, influx_database, sink, tmp_path, ALERT_RULES=rules
    ):
        stack.kill()
        await sink.until_received(20, timeout_s=60)
        await asyncio.sleep(ROUNDS_S)
        assert sorted(sink.unmarked) == [f"Critical: service_down {name}" for name in SERVICES]
        assert all("is down: no heartbeat" in message.body for message in sink.received)
        await stack.start()
        await sink.until_received(40, timeout_s=60)
        await asyncio.sleep(ROUNDS_S)
    assert sorted(sink.unmarked[20:]) == [f"Over: service_down {name}" for name in SERVICES]


async def test_M3_a_quiet_hour_gives_none_but_what_is_critical(
    own_redis: RedisServer,
    stack: Stack,
    influx_port: int,
    influx_database: str,
    sink: Sink,
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    rules = prompt_rules(tmp_path, service_down='severity = "warning"')
    with rules.open("a", encoding="utf-8") as file:
        file.write(
            '\n[mine]\nreading = "service_down"\nequals = 1\nsubjects = ["service-07"]\n'
            'severity = "critical"\ntext = "{subject}"\nremedy = "look"\n'
        )
    async with monitoring(
        own_redis,
        influx_port,
        influx_database,
        sink,
        tmp_path,
        ALERT_RULES=str(rules),
        NOTIFY_QUIET_HOURS=hours,
    ):
        stack.kill()
        client = Redis(port=own_redis.port)
        await eventually(lambda: incidents_are(client, 20), timeout_s=60)
        await client.aclose()
        await sink.until_received(1)
        await asyncio.sleep(ROUNDS_S)
    assert sink.unmarked == ["Critical: mine service-07"]


async def incidents_are(redis: Redis, count: int) -> bool:
    return int(await redis.hlen(names.INCIDENTS)) == count


async def test_M3_one_root_cause_is_one_message_and_one_end(
    own_redis: RedisServer,
    stack: Stack,
    influx_port: int,
    influx_database: str,
    sink: Sink,
    tmp_path: Path,
) -> None:
    rules = prompt_rules(
        tmp_path,
        service_down="for_s = 5",
        service_degraded="",
        # What reads the services that are not there is blind all the time.
        monitor_blind='subjects = ["redis", "bars", "halt"]',
        bars_stale="",
    )
    async with monitoring(
        own_redis, influx_port, influx_database, sink, tmp_path, ALERT_RULES=str(rules)
    ):
        own_redis.kill()
        await sink.until_received(1, timeout_s=60)
        await asyncio.sleep(ROUNDS_S)
        assert sink.unmarked == ["Critical: service_down redis"]
        assert "; with it: service-00 (service_degraded), service-01" in sink.received[0].body
        own_redis.start()
        await sink.until_received(2, timeout_s=60)
        await asyncio.sleep(ROUNDS_S)
    assert sink.unmarked[1:] == ["Over: service_down redis"]
