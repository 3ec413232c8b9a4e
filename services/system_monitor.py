"""Entry point of system-monitor: `python -m services.system_monitor`."""

from __future__ import annotations

import asyncio

from aggr_server.env import SettingsError
from aggr_server.influx import InfluxClient
from services.core import service
from services.core.clients import redis_client
from services.core.outage import Outage
from services.core.rounds import repeat
from services.core.service import Pulse
from services.core.settings import SystemMonitorSettings
from services.monitor.checks import Checker
from services.monitor.containers import Containers
from services.monitor.host import use_procfs
from services.monitor.measure.sources import Sources
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses, SupervisedProcesses
from services.monitor.usage import Source
from services.notify import channels
from services.notify.deadman import DeadMan, Watched
from services.notify.notifier import Notifier

NAME = "system-monitor"
# A frozen Redis must not keep the monitor from seeing the rest.
REDIS_TIMEOUT_S = 1.0
# Over the time for which a blocking read waits.
STREAM_TIMEOUT_S = 10.0


async def main(settings: SystemMonitorSettings, stop: asyncio.Event) -> None:
    """Watch until `stop` is set. Raises `SettingsError` for channels or rules that are none, and if
    the machine's figures are not where they are said to be."""
    _find_machine(settings)
    redis = redis_client(settings, socket_timeout_s=REDIS_TIMEOUT_S, retries=0)
    streams = redis_client(settings, socket_timeout_s=STREAM_TIMEOUT_S)
    address = f"{settings.redis_host}:{settings.redis_port}"
    # Takes a second if there are any.
    ways = await asyncio.to_thread(channels.load, settings.notify_urls)
    notifier = Notifier(settings, streams, ways, Outage("Redis", address))
    deadman = DeadMan(settings)
    pulse = Pulse(NAME, settings, redis)
    async with InfluxClient(settings) as influx:
        checker = Checker(settings, redis, influx)
        source = source_of(settings)
        measured = Sources(settings, redis, streams, influx)
        monitor = Monitor(
            settings, redis, influx, checker, source, notifier, sources=measured.all()
        )

        def details() -> dict[str, object]:
            return {**monitor.details, "messages": notifier.details}

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(notifier.run(stop))
                tasks.create_task(deadman.run(stop))
                tasks.create_task(measured.run(stop))
                work = Watched(monitor, deadman)
                await repeat(work, pulse, stop, settings.monitor_interval_s, details=details)
        finally:
            await monitor.close()
            await measured.close()
            source.close()
            await checker.close()
            await redis.aclose()
            await streams.aclose()


def _find_machine(settings: SystemMonitorSettings) -> None:
    try:
        use_procfs(settings.monitor_proc_path)
    except OSError as error:
        raise SettingsError(
            f"MONITOR_PROC_PATH={settings.monitor_proc_path!r}: {error.strerror}. Name a folder "
            "where the machine's /proc is mounted, or leave it empty. Correct it in .env."
        ) from error


def source_of(settings: SystemMonitorSettings) -> Source:
    """Docker where there is an engine, else the supervisor, else what heartbeats tell."""
    if settings.docker_host:
        return Containers(settings.docker_host)
    if settings.supervisor_socket:
        return SupervisedProcesses(settings.supervisor_socket)
    return KnownProcesses()


if __name__ == "__main__":
    service.run(NAME, SystemMonitorSettings, main)
