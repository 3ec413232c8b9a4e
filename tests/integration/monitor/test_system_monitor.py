"""system-monitor on real servers, processes and a real supervisor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.alerts import told as told_commands
from services.core.clients import redis_client
from services.core.records import Alert, Heartbeat
from services.core.settings import SystemMonitorSettings
from services.core.transaction import transact
from services.monitor.checks import Checker
from services.monitor.measure.catalog import SOURCES
from services.monitor.measure.sources import NEEDS
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses, SupervisedProcesses
from services.monitor.readings import Reading, read
from tests.integration.monitor.support import (
    HEARTBEAT_SERVICES,
    SERVICES,
    beat,
    service_env,
)
from tests.integration.notify.support import now_ms
from tests.integration.servers import RedisServer


async def test_figures_and_states_are_stored(
    settings: SystemMonitorSettings, checker: Checker, redis: Redis, influx: InfluxClient
) -> None:
    for service in HEARTBEAT_SERVICES:
        await beat(redis, service)
    monitor = Monitor(settings, redis, influx, checker, KnownProcesses())
    await monitor.round()
    await monitor.round()
    assert monitor.status == "ok"
    health = await influx.query("SELECT * FROM service_health")
    assert len(health) == 2 * len(SERVICES)
    assert {(row["state"], row["up"]) for row in health} == {("up", 1)}
    used = await influx.query("SELECT * FROM container_stats WHERE container = 'oi-tracker'")
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    expected = sum(process.memory_info().rss for process in family)
    assert used[-1]["memory_bytes"] == pytest.approx(expected, rel=0.1)
    assert used[-1]["cpu_percent"] >= 0
    assert used[-1]["state"] == "running"
    host = await influx.query("SELECT * FROM host_stats")
    assert host[-1]["memory_total_bytes"] == psutil.virtual_memory().total
    disks = await influx.query("SELECT * FROM disk_stats")
    assert disks[-1]["path"] == "/"
    assert 0 < disks[-1]["used_percent"] < 100


async def alerts_of(redis: Redis) -> list[Alert]:
    return [msgspec.json.decode(a, type=Alert) for a in await redis.lrange(names.ALERTS, 0, -1)]


async def test_an_alert_is_raised_once_and_cleared_once_also_across_a_restart(
    settings: SystemMonitorSettings,
    checker: Checker,
    redis: Redis,
    influx: InfluxClient,
) -> None:
    await beat(redis, "strategy-runner")
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.ALERTS)
        first = Monitor(settings, redis, influx, checker, KnownProcesses())
        await first.round()
        await first.round()
        assert [a.code for a in await alerts_of(redis)] == ["service_not_started"]
        assert first.open_incidents == 1

        second = Monitor(settings, redis, influx, checker, KnownProcesses())
        await second.round()
        assert len(await alerts_of(redis)) == 1
        await beat(redis, "oi-tracker")
        await second.round()
        await second.round()
        told = await alerts_of(redis)
        heard: list[Alert] = []
        while len(heard) < 2:
            message = await subscriber.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                heard.append(msgspec.json.decode(message["data"], type=Alert))
    assert [(a.level, a.code) for a in reversed(told)] == [
        ("critical", "service_not_started"),
        ("info", "service_not_started"),
    ]
    assert heard == list(reversed(told))
    assert told[-1].text.startswith("oi-tracker has not come up: no heartbeat")
    assert await redis.hlen(names.INCIDENTS) == 0
    stored = await influx.query("SELECT * FROM system_alerts")
    assert [(row["level"], row["over"]) for row in stored] == [("critical", False), ("info", True)]


async def test_what_other_services_tell_is_stored_once(
    settings: SystemMonitorSettings, checker: Checker, redis: Redis, influx: InfluxClient
) -> None:
    for service in HEARTBEAT_SERVICES:
        await beat(redis, service)
    theirs = Alert(level="critical", code="orphan", text="a position nobody knows", ts_ms=now_ms())
    await redis.xadd(names.ALERTS_STREAM, {"data": b"no alert"})
    await transact(redis, told_commands(msgspec.json.encode(theirs)))
    for _ in range(2):  # as after a restart
        monitor = Monitor(settings, redis, influx, checker, KnownProcesses())
        await monitor.round()
        await monitor.round()
        await monitor.close()
    (row,) = await influx.query("SELECT * FROM system_alerts", epoch="ms")
    assert (row["level"], row["code"], row["text"]) == (theirs.level, theirs.code, theirs.text)
    assert (row["time"], row["over"]) == (theirs.ts_ms, False)


async def test_an_alert_raised_while_redis_is_away_is_sent_when_it_is_back(
    own_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient
) -> None:
    client = redis_client(Connections(redis_port=own_redis.port))
    checker = Checker(settings, client, influx)
    monitor = Monitor(settings, client, influx, checker, KnownProcesses())
    own_redis.kill()
    await monitor.round()
    own_redis.start()
    await monitor.round()
    codes = {alert.code for alert in await alerts_of(client)}
    await checker.close()
    await client.aclose()
    assert "service_not_started" in codes


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Path]:
    """A real supervisord with one busy program and one that has ended."""
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sf") as folder:
        path = Path(folder) / "s"
        busy = tmp_path / "busy.py"
        busy.write_text("import time\nwhile True:\n    sum(range(50000)); time.sleep(0.01)\n")
        config = tmp_path / "supervisord.conf"
        config.write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/log\npidfile={tmp_path}/pid\n"
            f"{'user=root' if os.geteuid() == 0 else ''}\n"
            f"[unix_http_server]\nfile={path}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[program:busy]\ncommand={sys.executable} {busy}\nstartsecs=0\n"
            "[program:ended]\ncommand=/bin/true\nstartsecs=0\nautorestart=false\n"
        )
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "supervisord"), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(path.exists)
            yield path
        finally:
            process.terminate()
            process.wait(20)


def wait_for(condition: Any, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_supervised_processes_are_measured_and_restarts_counted(supervisor: Path) -> None:
    source = SupervisedProcesses(str(supervisor))
    wait_for(lambda: {u.service: u.state for u in source.sample()}.get("ended") == "exited")
    pid = busy_pid(supervisor)
    source.sample()
    before, start = psutil.Process(pid).cpu_times(), time.monotonic()
    time.sleep(1.0)  # the span that is measured
    usage = next(u for u in source.sample() if u.service == "busy")
    after, passed = psutil.Process(pid).cpu_times(), time.monotonic() - start
    expected = 100 * (after.user - before.user + after.system - before.system) / passed
    assert usage.cpu_percent == pytest.approx(expected, abs=6.0)
    assert usage.state == "running"
    assert usage.restarts == 0
    # supervisord tells the start in whole seconds.
    wait_for(lambda: time.time() - psutil.Process(pid).create_time() > 2)
    psutil.Process(pid).kill()
    wait_for(lambda: busy_pid(supervisor) not in (0, pid))
    assert next(u for u in source.sample() if u.service == "busy").restarts == 1


def busy_pid(path: Path) -> int:
    infos = SupervisedProcesses(str(path))._ask()
    return next(int(info["pid"]) for info in infos if info["name"] == "busy")


async def test_system_monitor_runs_stores_and_ends_in_good_order(
    connection_env: dict[str, str], tmp_path: Path, redis: Redis, influx: InfluxClient
) -> None:
    environ = service_env(
        connection_env, tmp_path, MONITOR_INTERVAL_S="1", STACK_SERVICES="redis,system-monitor"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.system_monitor", env=environ
    )
    try:
        deadline = time.monotonic() + 25
        query = "SELECT * FROM container_stats WHERE container = 'system-monitor'"
        while not (rows := await influx.query(query)):
            assert time.monotonic() < deadline
            assert process.returncode is None
            await asyncio.sleep(0.2)
        assert rows[0]["memory_bytes"] > 10_000_000
        data = await redis.get(names.heartbeat("system-monitor"))
        assert data is not None
        assert msgspec.json.decode(data, type=Heartbeat).pid == process.pid
        while blind_or_not(await read(redis)) != set(SOURCES) - set(NEEDS):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
    finally:
        process.terminate()
        assert await process.wait() == 0


def blind_or_not(readings: list[Reading]) -> set[str]:
    """Sources that were looked at."""
    return {reading.subject for reading in readings if reading.name == "monitor_blind"}
