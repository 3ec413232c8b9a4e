"""What a service uses, whoever runs it, and what the machine has left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """One container or process with its children.

    `cpu_percent`: of one core since the last sample, as `docker stats` counts it (200 = two full
    cores); None for the first sample. `memory_bytes`: without file cache. `memory_limit_bytes`:
    None if there is no limit. `restarts`: since the container was made, or since the monitor
    started. `health`: what the container's own health check says, empty if it has none.
    """

    service: str
    state: str
    health: str = ""
    restarts: int = 0
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None


class Source(Protocol):
    """Where the services run. `sample` blocks; call it in a thread."""

    runtime: str

    def sample(self) -> list[Usage]:
        """One entry per service. Raises `SourceError`."""
        ...

    def close(self) -> None:
        """Close the connections, if there are any."""
        ...


class SourceError(Exception):
    """The supervisor or the Docker engine does not answer."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, named by a path on it."""

    path: str
    used_percent: float
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Host:
    """The machine. `cpu_percent`: of all cores together, 0 to 100, since the last sample.

    `memory_available_bytes`: what programs can still get without swapping.
    """

    cpu_percent: float
    memory_total_bytes: int
    memory_available_bytes: int
    swap_used_bytes: int
    load_1m: float
    disks: tuple[Disk, ...]


def sample_host(disk_paths: Sequence[str]) -> Host:
    """The machine now. Paths that do not exist are left out."""
    memory = psutil.virtual_memory()
    return Host(
        cpu_percent=psutil.cpu_percent(interval=None),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_used_bytes=psutil.swap_memory().used,
        load_1m=psutil.getloadavg()[0],
        disks=tuple(disk for path in disk_paths if (disk := _disk(path)) is not None),
    )


def _disk(path: str) -> Disk | None:
    try:
        usage = psutil.disk_usage(path)
    except OSError:
        return None
    return Disk(path=path, used_percent=usage.percent, free_bytes=usage.free)
