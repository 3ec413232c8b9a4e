"""`scripts/health_check.py` as a process, on real servers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from services.core import names
from services.monitor import readings
from services.monitor.readings import Reading
from tests.integration.monitor.support import (
    HEARTBEAT_SERVICES,
    SERVICES,
    Others,
    beat,
    service_env,
)
from tests.integration.monitor.told import open_incident
from tests.integration.servers import ROOT, free_port


class Check:
    """The script with the settings of a stack whose services all work."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ

    async def run(self, *arguments: str, **settings: str) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "scripts" / "health_check.py"),
            "--environment",
            *arguments,
            env={**self._environ, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def document(self, **settings: str) -> dict[str, Any]:
        """What `--json` prints."""
        _, output, errors = await self.run("--json", **settings)
        assert not errors
        found: dict[str, Any] = json.loads(output)
        return found


@pytest.fixture
async def check(
    connection_env: dict[str, str], others: tuple[Others, str], tmp_path: Path, redis: Redis
) -> Check:
    for service in (*HEARTBEAT_SERVICES, "system-monitor"):
        await beat(redis, service)
    return Check(
        service_env(
            connection_env,
            tmp_path,
            AGGR_SERVER_URL=others[1],
            FREQTRADE_API_URL=others[1],
            FREQTRADE_API_PASSWORD="secret",
            STACK_SERVICES=",".join(SERVICES),
        )
    )


async def test_a_healthy_system_is_a_line_for_each_service(check: Check) -> None:
    status, output, _ = await check.run()
    assert output.splitlines() == [
        "System Health: HEALTHY",
        "redis: UP",
        "influxdb: UP",
        "freqtrade: UP",
        "strategy_runner: UP",
        "aggr_server: UP",
        "oi_tracker: UP",
    ]
    assert status == 0


async def test_what_is_down_is_told_with_its_cause(check: Check, redis: Redis) -> None:
    await redis.delete(names.heartbeat("strategy-runner"))
    status, output, _ = await check.run()
    assert status == 1
    assert "System Health: DEGRADED" in output
    assert "strategy_runner: DOWN\n  cause: no heartbeat" in output
    document = await check.document()
    assert document["services"]["strategy-runner"]["state"] == "down"


async def test_open_incidents_and_readings_over_their_limits_are_told(
    check: Check, redis: Redis
) -> None:
    await open_incident(redis, "disk_full:/data", "critical", "/data is 97 % full; free space")
    await readings.publish(redis, [Reading(name="clock_offset_ms", subject="host", value=5_000.0)])
    status, output, _ = await check.run()
    assert status == 1
    assert "/data: CRITICAL disk_full, for 1 min" in output
    assert "Over a limit" in output
    assert "host: " in output.partition("Over a limit")[2]
    document = await check.document()
    assert document["status"] == "degraded"
    assert [incident["code"] for incident in document["incidents"]] == ["disk_full"]
    over = document["over_limit"]
    assert {trouble["subject"] for trouble in over} == {"host"}
    assert all(trouble["cause"] and trouble["remedy"] for trouble in over)


async def test_while_the_monitor_is_silent_incidents_are_not_known(
    check: Check, redis: Redis
) -> None:
    await open_incident(redis, "disk_full:/data", "critical", "/data is 97 % full; free space")
    await redis.delete(names.heartbeat("system-monitor"))
    status, output, _ = await check.run()
    assert status == 0
    assert output.splitlines()[-1] == (
        "Incidents and figures are not known while system-monitor is silent."
    )
    document = await check.document()
    assert (document["incidents"], document["over_limit"]) == (None, None)


async def test_without_redis_the_rest_is_still_judged(check: Check, tmp_path: Path) -> None:
    (tmp_path / "oi-tracker.alive").touch()
    port = str(free_port())
    status, output, _ = await check.run(REDIS_PORT=port)
    assert status == 1
    assert f"redis: DOWN\n  cause: cannot connect to 127.0.0.1:{port}\n" in output
    assert "influxdb: UP\nfreqtrade: UP" in output
    assert "oi_tracker: DEGRADED\n  cause: turns, without Redis\n  remedy: see redis" in output
    assert "strategy_runner: DEGRADED\n  cause: not known while Redis is down" in output
    assert output.splitlines()[-2:] == [
        "Begin with redis: the other services need it.",
        "Incidents and figures are not known while Redis is away.",
    ]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"REDIS_PORT": "many"}, "REDIS_PORT='many'"),
        ({"ALERT_RULES": "/nowhere.toml"}, "ALERT_RULES=/nowhere.toml"),
    ],
)
async def test_what_cannot_be_checked_is_one_line_and_a_status_of_its_own(
    check: Check, settings: dict[str, str], named: str
) -> None:
    status, output, errors = await check.run(**settings)
    assert (status, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert named in errors
