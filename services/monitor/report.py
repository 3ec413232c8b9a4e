"""The health check as text, one line per service, causes and remedies under those not up."""

from __future__ import annotations

from aggr_server.influx import InfluxClient
from services.core.clients import redis_client
from services.core.settings import MonitorSettings
from services.monitor.checks import Checker
from services.monitor.states import Overview

_FIRST = ("redis", "aggr-influx", "freqtrade", "strategy-runner")
_LABELS = {"aggr-influx": "influxdb"}


async def look(settings: MonitorSettings) -> Overview:
    """Check every service once."""
    redis = redis_client(settings, socket_timeout_s=3.0)
    async with InfluxClient(settings, timeout_s=3.0) as influx:
        checker = Checker(settings, redis, influx)
        try:
            return await checker.check_all()
        finally:
            await checker.close()
            await redis.aclose()


def text(overview: Overview) -> str:
    """`System Health: HEALTHY`, then `redis: UP` and so on."""
    lines = [f"System Health: {overview.status.upper()}"]
    first = [name for name in _FIRST if name in overview.services]
    for name in (*first, *(name for name in overview.services if name not in _FIRST)):
        service = overview.services[name]
        lines.append(f"{label(name)}: {service.state.upper()}")
        if service.state != "up":
            lines.append(f"  cause: {service.detail}")
            lines.append(f"  remedy: {service.remedy}")
    if not any(service.state == "up" for service in overview.services.values()):
        lines.append("Nothing is running. ./scripts/up.sh starts the stack.")
    return "\n".join(lines)


def label(service: str) -> str:
    """Name in the report: `aggr-influx` is `influxdb`, `strategy-runner` is `strategy_runner`."""
    return _LABELS.get(service, service.replace("-", "_"))
