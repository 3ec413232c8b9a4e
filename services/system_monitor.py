"""Entry point of system-monitor: `python -m services.system_monitor`."""

from __future__ import annotations

import asyncio

from aggr_server.influx import InfluxClient
from services.core import service
from services.core.clients import redis_client
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import SystemMonitorSettings
from services.monitor.checks import Checker
from services.monitor.containers import Containers
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses, SupervisedProcesses
from services.monitor.usage import Source

NAME = "system-monitor"
# A frozen Redis must not keep the monitor from seeing the rest.
REDIS_TIMEOUT_S = 1.0


async def main(settings: SystemMonitorSettings, stop: asyncio.Event) -> None:
    """Watch until `stop` is set."""
    redis = redis_client(settings, socket_timeout_s=REDIS_TIMEOUT_S)
    pulse = Pulse(NAME, settings, redis)
    async with InfluxClient(settings) as influx:
        checker = Checker(settings, redis, influx)
        source = source_of(settings)
        monitor = Monitor(settings, redis, influx, checker, source)
        try:
            await repeat(
                monitor,
                pulse,
                stop,
                settings.monitor_interval_s,
                details=lambda: {"open_incidents": monitor.open_incidents},
            )
        finally:
            source.close()
            await checker.close()
            await redis.aclose()


def source_of(settings: SystemMonitorSettings) -> Source:
    """Docker where there is an engine, else the supervisor, else what heartbeats tell."""
    if settings.docker_host:
        return Containers(settings.docker_host)
    if settings.supervisor_socket:
        return SupervisedProcesses(settings.supervisor_socket)
    return KnownProcesses()


if __name__ == "__main__":
    service.run(NAME, SystemMonitorSettings, main)
