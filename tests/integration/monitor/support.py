"""What the tests of the monitors share."""

from __future__ import annotations

import os
import time
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.settings import Connections
from services.core import names
from services.core.records import Heartbeat
from services.core.settings import SystemMonitorSettings
from services.monitor import rules
from tests.integration.children import bare
from tests.integration.servers import ROOT

NO_EXCHANGES = "http://127.0.0.1:1"
"""A gateway that refuses: nothing here may reach the real ones."""

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


def monitor_settings(
    connections: Connections, url: str, folder: Path, *, password: str = "secret"
) -> SystemMonitorSettings:
    return SystemMonitorSettings(
        redis_port=connections.redis_port,
        influx_port=connections.influx_port,
        influx_database=connections.influx_database,
        exchange_gateway=NO_EXCHANGES,
        aggr_server_url=url,
        freqtrade_api_url=url,
        freqtrade_api_password=password,
        stack_services=SERVICES,
        heartbeat_dir=str(folder),
        alert_rules=str(prompt_rules(folder)),
    )


def prompt_rules(folder: Path, **rules_on: str) -> Path:
    """A file of rules that leaves on only some of the shipped, by default those of services.

    They are told, and over, at once, unless their value, further lines of the table, says so.
    """
    kept = rules_on or {"service_down": "", "service_not_started": ""}
    path = folder / "alert_rules.toml"
    tables = [
        f"[{name}]\n{_prompt(kept[name]) if name in kept else 'enabled = false'}\n"
        for name in rules.load()
    ]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def _prompt(lines: str) -> str:
    missing = [f"{key} = 0" for key in ("for_s", "clear_s") if key not in lines]
    return "\n".join([*missing, lines])


async def beat(
    redis: Redis,
    service: str,
    *,
    age_s: float = 0.0,
    status: str = "ok",
    details: dict[str, object] | None = None,
) -> None:
    record = Heartbeat(
        service=service,
        ts_ms=int((time.time() - age_s) * 1000),
        pid=os.getpid(),
        cycle_ms=1.5,
        status=status,
        details=details or {},
    )
    await redis.set(names.heartbeat(service), msgspec.json.encode(record), ex=60)


def service_env(environ: dict[str, str], folder: Path, **more: str) -> dict[str, str]:
    return {
        **bare(),
        "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server",
        "HEARTBEAT_DIR": str(folder),
        "EXCHANGE_GATEWAY": NO_EXCHANGES,
        **environ,
        **more,
    }
