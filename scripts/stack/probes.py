"""Is a service ready, judged by what it does rather than by its port being open?

Every probe returns an empty string if the service is well, else what is wrong in a few words.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import redis

from aggr_server.env import load
from services.core import names
from services.core.records import Heartbeat
from services.core.settings import MonitorSettings, SimulatorSettings

Probe = Callable[[], str]

TIMEOUT_S = 3.0
HEARTBEAT_OLDEST_S = 12.0


def probes(environ: Mapping[str, str]) -> dict[str, Probe]:
    """A probe for every service that has something to ask."""
    settings = load(MonitorSettings, environ)
    simulator = load(SimulatorSettings, environ)
    bus = redis_client(settings)
    influx = f"http://{settings.influx_host}:{settings.influx_port}"
    return {
        "redis": lambda: _redis(bus),
        "aggr-influx": lambda: _answers(f"{influx}/ping"),
        "aggr-server": lambda: _answers(f"{settings.aggr_server_url}/health"),
        "simulator": lambda: _answers(f"http://127.0.0.1:{simulator.simulator_port}/health"),
        "freqtrade": lambda: _freqtrade(settings),
        "strategy-runner": lambda: _heartbeat(bus, "strategy-runner"),
        "oi-tracker": lambda: _heartbeat(bus, "oi-tracker"),
        "system-monitor": lambda: _heartbeat(bus, "system-monitor"),
        "health-monitor": lambda: _heartbeat(bus, "health-monitor"),
        "backup": lambda: _heartbeat(bus, "backup"),
    }


def redis_client(settings: MonitorSettings) -> redis.Redis:
    """A blocking client, for the commands."""
    return redis.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password or None,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )


def fetch(url: str, *, login: tuple[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
    """GET a JSON document. Raises `OSError` (which includes HTTP errors) and `ValueError`."""
    request = urllib.request.Request(url)
    if login:
        token = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            body = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: the answer broke off") from error
    return json.loads(body) if body else None


def _answers(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return _status_of(error)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({getattr(error, 'reason', error)})"


def _status_of(error: urllib.error.HTTPError) -> str:
    """What a health page that does not answer 200 says of itself."""
    try:
        document = json.loads(error.read())
        return str(document.get("status") or document.get("reason") or document)[:200]
    except (ValueError, AttributeError, OSError):
        return f"HTTP {error.code}"


def _redis(bus: redis.Redis) -> str:
    try:
        bus.ping()
    except redis.RedisError as error:
        return f"no answer ({error})"
    return ""


def _heartbeat(bus: redis.Redis, service: str) -> str:
    try:
        data = bus.get(names.heartbeat(service))
    except redis.RedisError:
        return "unknown (redis is down)"
    if not isinstance(data, bytes):
        return "no heartbeat yet"
    beat = msgspec.json.decode(data, type=Heartbeat)
    age_s = time.time() - beat.ts_ms / 1000
    if age_s > HEARTBEAT_OLDEST_S:
        return f"last heartbeat {age_s:.0f} s ago"
    # The kill switch ends entries, not the service: exits go on, also over a restart.
    return "" if beat.status in ("ok", beat.details.get("halted")) else beat.status


def _freqtrade(settings: MonitorSettings) -> str:
    """The API answers, and the trading loop behind it turns."""
    login = (settings.freqtrade_api_username, settings.freqtrade_api_password)
    try:
        health = fetch(f"{settings.freqtrade_api_url}/api/v1/health", login=login)
    except urllib.error.HTTPError as error:
        return f"API answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
    last = health.get("last_process_ts") if isinstance(health, dict) else None
    if last is None:
        return "trading loop has not turned yet"
    age_s = time.time() - float(last)
    return "" if age_s < 60 else f"trading loop stands still for {age_s:.0f} s"
