"""Services as containers, read through the Docker API. Nothing is ever changed through it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from docker.api import APIClient
from docker.errors import DockerException, NotFound

from services.core.labels import (
    COMPOSE_NUMBER,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    STACK_NAMESPACE,
    SWARM_SERVICE,
)
from services.monitor.usage import SourceError, Usage

TIMEOUT_S = 10
THREADS = 4
DEFAULT_PROJECT = "squeezeflow"

Json = Mapping[str, Any]


class Containers:
    """The containers of the project this process runs in; else of the one named squeezeflow."""

    runtime = "docker"

    def __init__(self, docker_host: str, hostname: str = "") -> None:
        self._hostname = hostname or socket.gethostname()
        self._url = docker_host
        self._client: APIClient | None = None
        self._before: dict[str, Json] = {}

    def sample(self) -> list[Usage]:
        """See `Source`."""
        try:
            if self._client is None:
                self._client = APIClient(base_url=self._url, version="auto", timeout=TIMEOUT_S)
            found = self._client.containers(all=True)
            own = project_of(found, self._hostname)
            ours = [container for container in found if _project(container["Labels"]) == own]
            named = names_of([container["Labels"] for container in ours])
            with ThreadPoolExecutor(THREADS) as pool:
                found_all = pool.map(self._usage, ours, named)
                usages = [usage for usage in found_all if usage is not None]
        except (DockerException, requests.RequestException, OSError) as error:
            raise SourceError(f"Docker API at {self._url}: {error}") from error
        self._before = {k: v for k, v in self._before.items() if k in {c["Id"] for c in ours}}
        return usages

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _usage(self, container: Json, name: str) -> Usage | None:
        assert self._client is not None
        identifier = container["Id"]
        try:
            details = self._client.inspect_container(identifier)
            running = bool(details["State"].get("Running"))
            stats: Json = {}
            if running:
                stats = self._client.stats(identifier, stream=False, one_shot=True)
        except NotFound:
            return None  # removed since the list was made
        before = self._before.get(identifier)
        if stats:
            self._before[identifier] = stats
        received, sent = network_bytes(stats)
        read, written = disk_bytes(stats)
        return Usage(
            service=name,
            state=details["State"]["Status"],
            # The engine keeps the last verdict of a container that has ended.
            health=details["State"].get("Health", {}).get("Status", "") if running else "",
            restarts=details.get("RestartCount", 0),
            cpu_percent=cpu_percent(before, stats),
            memory_bytes=memory_bytes(stats),
            memory_limit_bytes=details.get("HostConfig", {}).get("Memory") or None,
            network_received_bytes=received,
            network_sent_bytes=sent,
            disk_read_bytes=read,
            disk_written_bytes=written,
        )


def cpu_percent(before: Json | None, now: Json) -> float | None:
    """Percent of one core between two answers of the stats API; None if they do not tell.

    The counters are nanoseconds: the container's share of the whole machine's time, times cores.
    """
    if not before or not now:
        return None
    earlier, later = before["cpu_stats"], now["cpu_stats"]
    try:
        used = later["cpu_usage"]["total_usage"] - earlier["cpu_usage"]["total_usage"]
        passed = later["system_cpu_usage"] - earlier["system_cpu_usage"]
    except KeyError:
        return None
    cores = later.get("online_cpus") or len(later["cpu_usage"].get("percpu_usage") or [1])
    if used < 0 or passed <= 0:
        return None  # restarted in between
    return 100.0 * float(used) / float(passed) * float(cores)


def memory_bytes(stats: Json) -> int | None:
    """Memory without the file cache the kernel may drop, as `docker stats` shows it."""
    memory = stats.get("memory_stats", {})
    if "usage" not in memory:
        return None
    parts = memory.get("stats", {})
    # The first is of cgroup v1, the second of v2.
    cache = parts.get("total_inactive_file", parts.get("inactive_file", 0))
    usage = int(memory["usage"])
    return usage - int(cache) if cache < usage else usage


def network_bytes(stats: Json) -> tuple[int | None, int | None]:
    """Received and sent over all interfaces; None without a network of its own."""
    networks = stats.get("networks")
    if not networks:
        return None, None
    return (
        sum(int(interface["rx_bytes"]) for interface in networks.values()),
        sum(int(interface["tx_bytes"]) for interface in networks.values()),
    )


def disk_bytes(stats: Json) -> tuple[int | None, int | None]:
    """Read and written on all disks; None while the kernel counts nothing for the container."""
    counted = stats.get("blkio_stats", {}).get("io_service_bytes_recursive")
    if not counted:
        return None, None
    # "Read" with cgroup v1, "read" with v2.
    totals = {"read": 0, "write": 0}
    for entry in counted:
        operation = str(entry["op"]).lower()
        if operation in totals:
            totals[operation] += int(entry["value"])
    return totals["read"], totals["write"]


def names_of(labels: Sequence[Mapping[str, str]]) -> list[str]:
    """A name for each container; replicas of a service are told apart by their number."""
    services = [service_of(of_one) for of_one in labels]
    return [
        f"{service}-{number}"
        if services.count(service) > 1 and (number := of_one.get(COMPOSE_NUMBER))
        else service
        for service, of_one in zip(services, labels, strict=True)
    ]


def project_of(containers: Sequence[Json], hostname: str) -> str:
    """Project or stack of the container whose id begins with `hostname`, or the default."""
    for container in containers:
        if len(hostname) >= 12 and container["Id"].startswith(hostname):
            return _project(container["Labels"]) or DEFAULT_PROJECT
    return DEFAULT_PROJECT


def service_of(labels: Mapping[str, str]) -> str:
    """The service's name in the Compose file; a stack's prefix is taken off."""
    if name := labels.get(COMPOSE_SERVICE):
        return name
    return labels.get(SWARM_SERVICE, "").removeprefix(f"{labels.get(STACK_NAMESPACE, '')}_")


def _project(labels: Mapping[str, str]) -> str:
    return labels.get(COMPOSE_PROJECT) or labels.get(STACK_NAMESPACE, "")
