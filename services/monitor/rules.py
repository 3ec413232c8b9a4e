"""What counts as an incident."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from services.core.settings import SystemMonitorSettings
from services.monitor.incidents import Finding
from services.monitor.states import Overview
from services.monitor.usage import Host


def findings(
    overview: Overview,
    host: Host,
    by_heartbeat: Callable[[str], bool],
    started: Collection[str],
    settings: SystemMonitorSettings,
) -> list[Finding]:
    """Everything wrong now, one finding per cause.

    `by_heartbeat`: whether a service is judged by the heartbeat of its loop. `started`: services
    that have been seen at work; the others may still be starting and are given longer.
    """
    return [*_services(overview, by_heartbeat, started, settings), *_disks(host, settings)]


def _services(
    overview: Overview,
    by_heartbeat: Callable[[str], bool],
    started: Collection[str],
    settings: SystemMonitorSettings,
) -> Iterator[Finding]:
    for name, service in overview.services.items():
        if service.state != "down":
            continue
        yield Finding(
            code="heartbeat_missing" if by_heartbeat(name) else "service_down",
            subject=name,
            level="critical",
            text=f"{name} is down: {service.detail}; {service.remedy}",
            hold_s=settings.alert_down_s if name in started else settings.alert_start_s,
        )


def _disks(host: Host, settings: SystemMonitorSettings) -> Iterator[Finding]:
    for disk in host.disks:
        if disk.used_percent > settings.alert_disk_percent:
            yield Finding(
                code="disk",
                subject=disk.path,
                level="warning",
                text=f"disk of {disk.path} is {disk.used_percent:.0f} % full, "
                f"{disk.free_bytes / 1e9:.1f} GB left: free space or enlarge it",
            )
