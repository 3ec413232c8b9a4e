"""The monitors against real servers, real processes and a real supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.clients import redis_client
from services.core.records import Alert, Heartbeat
from services.core.settings import SystemMonitorSettings
from services.monitor.checks import Checker
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses, SupervisedProcesses
from tests.integration.servers import ROOT, RedisServer, free_port

HEARTBEAT_SERVICES = ("strategy-runner", "oi-tracker")
SERVICES = ("redis", "aggr-influx", "aggr-server", "freqtrade", *HEARTBEAT_SERVICES)


class Others:
    """Stands in for aggr-server (`/health`) and freqtrade (`/api/v1`) on one port."""

    def __init__(self) -> None:
        self.collector_status = 200
        self.problems: list[str] = []
        self.last_turn_age_s = 1.0
        self.hang = False

    def application(self) -> web.Application:
        """The pages that are asked."""
        application = web.Application()
        application.router.add_get("/health", self._collector)
        application.router.add_get("/api/v1/ping", self._ping)
        application.router.add_get("/api/v1/health", self._health)
        return application

    async def _collector(self, _: web.Request) -> web.Response:
        failed = self.collector_status != 200
        status = "failed" if failed else "degraded" if self.problems else "ok"
        document = {"status": status, "problems": self.problems}
        return web.json_response(document, status=self.collector_status)

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "pong"})

    async def _health(self, request: web.Request) -> web.Response:
        expected = aiohttp.encode_basic_auth("squeezeflow", "secret")
        if request.headers.get("Authorization") != expected:
            return web.json_response({"detail": "Unauthorized"}, status=401)
        last = int(time.time() - self.last_turn_age_s)
        return web.json_response({"last_process_ts": last})


@pytest.fixture
async def others() -> AsyncIterator[tuple[Others, str]]:
    pages = Others()
    runner = web.AppRunner(pages.application())
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield pages, f"http://127.0.0.1:{port}"
    await runner.cleanup()


def monitor_settings(
    connections: Connections, url: str, folder: Path, *, password: str = "secret"
) -> SystemMonitorSettings:
    return SystemMonitorSettings(
        redis_port=connections.redis_port,
        influx_port=connections.influx_port,
        influx_database=connections.influx_database,
        aggr_server_url=url,
        freqtrade_api_url=url,
        freqtrade_api_password=password,
        stack_services=SERVICES,
        heartbeat_dir=str(folder),
        alert_down_s=0,
        alert_disk_percent=100,
    )


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


async def beat(redis: Redis, service: str, *, age_s: float = 0.0, status: str = "ok") -> None:
    record = Heartbeat(
        service=service,
        ts_ms=int((time.time() - age_s) * 1000),
        pid=os.getpid(),
        cycle_ms=1.5,
        status=status,
    )
    await redis.set(names.heartbeat(service), msgspec.json.encode(record), ex=60)


async def test_all_services_doing_their_work_are_healthy(checker: Checker, redis: Redis) -> None:
    for service in HEARTBEAT_SERVICES:
        await beat(redis, service)
    seen = await checker.check_all()
    assert seen.status == "healthy", seen.services
    assert {name: s.state for name, s in seen.services.items()} == dict.fromkeys(SERVICES, "up")
    age_ms = seen.services["freqtrade"].age_ms
    assert age_ms is not None
    assert 500 < age_ms < 10_000


async def test_each_fault_is_found_where_it_is(
    checker: Checker, redis: Redis, others: tuple[Others, str]
) -> None:
    others[0].collector_status = 503
    others[0].problems = ["InfluxDB is away", "no feed is live"]
    others[0].last_turn_age_s = 300
    await beat(redis, "oi-tracker", age_s=40)
    await beat(redis, "strategy-runner", status="market data is 12 s old")
    seen = (await checker.check_all()).services
    assert seen["aggr-server"].state == "down"
    assert seen["aggr-server"].detail == "InfluxDB is away; no feed is live"
    assert seen["freqtrade"].state == "down"
    assert "stands still" in seen["freqtrade"].detail
    assert seen["oi-tracker"].state == "down"
    assert "last heartbeat 40 s ago" in seen["oi-tracker"].detail
    assert seen["strategy-runner"].state == "degraded"
    assert seen["strategy-runner"].detail == "market data is 12 s old"
    assert seen["redis"].state == seen["aggr-influx"].state == "up"
    assert all(service.remedy for service in seen.values() if service.state != "up")


async def test_a_collector_without_one_of_its_feeds_is_degraded(
    checker: Checker, others: tuple[Others, str]
) -> None:
    others[0].problems = ["BYBIT is connecting"]
    state = await checker.check("aggr-server")
    assert (state.state, state.detail) == ("degraded", "BYBIT is connecting")


async def test_a_refused_login_is_named(
    connections: Connections,
    others: tuple[Others, str],
    tmp_path: Path,
    redis: Redis,
    influx: InfluxClient,
) -> None:
    settings = monitor_settings(connections, others[1], tmp_path, password="wrong")
    checker = Checker(settings, redis, influx)
    freqtrade = await checker.check("freqtrade")
    await checker.close()
    assert freqtrade.state == "degraded"
    assert "FREQTRADE_API_PASSWORD" in freqtrade.remedy


async def test_a_missing_password_of_redis_is_named(
    secured_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient
) -> None:
    async with Redis(port=secured_redis.port) as client:
        checker = Checker(settings, client, influx)
        state = await checker.check("redis")
        await checker.close()
    assert state.state == "down"
    assert "REDIS_PASSWORD" in state.remedy


async def test_M1_a_frozen_redis_is_down_and_heartbeats_are_read_from_files(
    own_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient, tmp_path: Path
) -> None:
    (tmp_path / "oi-tracker.alive").touch()
    own_redis.pause()
    frozen = Connections(redis_port=own_redis.port)
    client = redis_client(frozen, socket_timeout_s=0.2)
    checker = Checker(settings, client, influx)
    seen = (await checker.check_all()).services
    await checker.close()
    await client.aclose()
    own_redis.resume()
    assert seen["redis"].state == "down"
    assert (seen["oi-tracker"].state, seen["oi-tracker"].detail) == (
        "degraded",
        "turns, without Redis",
    )
    assert seen["strategy-runner"].state == "degraded"
    assert "not known" in seen["strategy-runner"].detail


async def test_a_missing_database_is_named(
    settings: SystemMonitorSettings, redis: Redis, influx_port: int
) -> None:
    other = SystemMonitorSettings(influx_port=influx_port, influx_database="nothing_here")
    async with InfluxClient(other) as influx:
        checker = Checker(other, redis, influx)
        state = await checker.check("aggr-influx")
        await checker.close()
    assert state.state == "degraded"
    assert "influx_init" in state.remedy


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.monitor.monitor.CLEAR_S", 0.0)
    await beat(redis, "strategy-runner")
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe(names.ALERTS)
        first = Monitor(settings, redis, influx, checker, KnownProcesses())
        await first.round()
        await first.round()
        assert [a.code for a in await alerts_of(redis)] == ["heartbeat_missing"]
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
        ("critical", "heartbeat_missing"),
        ("info", "heartbeat_missing"),
    ]
    assert heard == list(reversed(told))
    assert "oi-tracker is down" in told[-1].text
    assert await redis.hlen(names.INCIDENTS) == 0
    stored = await influx.query("SELECT * FROM system_alerts")
    assert [(row["level"], row["over"]) for row in stored] == [("critical", False), ("info", True)]


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
    assert "service_down" in codes


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


def service_env(environ: dict[str, str], folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server",
        "HEARTBEAT_DIR": str(folder),
        **environ,
        **more,
    }


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def until_status(url: str, wanted: int) -> str:
    deadline = time.monotonic() + 25
    while True:
        try:
            status, text = await fetch(url)
        except aiohttp.ClientError:
            status, text = 0, "no answer"
        if status == wanted:
            return text
        assert time.monotonic() < deadline, f"{status}: {text}"
        await asyncio.sleep(0.2)


async def test_health_monitor_answers_200_then_503_with_the_cause(
    connection_env: dict[str, str], others: tuple[Others, str], tmp_path: Path, redis: Redis
) -> None:
    port = free_port()
    services = "redis,aggr-influx,aggr-server,health-monitor"
    environ = service_env(
        connection_env,
        tmp_path,
        HEALTH_PORT=str(port),
        AGGR_SERVER_URL=others[1],
        STACK_SERVICES=services,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.health_monitor", env=environ
    )
    url = f"http://127.0.0.1:{port}"
    try:
        document = json.loads(await until_status(f"{url}/health", 200))
        assert document["status"] == "healthy"
        assert list(document["services"]) == services.split(",")
        assert (tmp_path / "health-monitor.alive").exists()
        _, shown = await fetch(f"{url}/")
        assert "System healthy" in shown

        others[0].collector_status = 503
        others[0].problems = ["no feed is live"]
        document = json.loads(await until_status(f"{url}/health", 503))
        assert document["services"]["aggr-server"]["detail"] == "no feed is live"
    finally:
        process.terminate()
        assert await process.wait() == 0


def test_a_port_in_use_is_one_clear_line(connection_env: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "services.health_monitor"],
            env=service_env(connection_env, tmp_path, HEALTH_PORT=str(port)),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode != 0
    problems = [line for line in done.stderr.splitlines() if "level=INFO" not in line]
    assert len(problems) == 1, done.stderr
    assert f"HEALTH_PORT={port}" in problems[0]


async def test_health_check_prints_what_the_document_shows(
    connection_env: dict[str, str], others: tuple[Others, str], tmp_path: Path, redis: Redis
) -> None:
    for service in HEARTBEAT_SERVICES:
        await beat(redis, service)
    environ = service_env(
        connection_env,
        tmp_path,
        AGGR_SERVER_URL=others[1],
        FREQTRADE_API_URL=others[1],
        FREQTRADE_API_PASSWORD="secret",
        STACK_SERVICES=",".join(SERVICES),
    )
    status, output = await health_check(environ)
    assert output.splitlines()[:5] == [
        "System Health: HEALTHY",
        "redis: UP",
        "influxdb: UP",
        "freqtrade: UP",
        "strategy_runner: UP",
    ]
    assert status == 0

    await redis.delete(names.heartbeat("strategy-runner"))
    status, output = await health_check(environ)
    assert status == 1
    assert "System Health: DEGRADED" in output
    assert "strategy_runner: DOWN\n  cause: no heartbeat" in output
    status, output = await health_check(environ, "--json")
    assert status == 1
    assert json.loads(output)["services"]["strategy-runner"]["state"] == "down"


async def health_check(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "scripts" / "health_check.py"),
        "--environment",
        *arguments,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


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
    finally:
        process.terminate()
        assert await process.wait() == 0
