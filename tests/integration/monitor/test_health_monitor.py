"""health-monitor as a process."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from tests.integration.monitor.support import Others, service_env
from tests.integration.servers import free_port


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
        assert "<title>SqueezeFlow" in shown

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
