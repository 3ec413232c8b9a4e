"""What a service uses, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """One container or process with its children.

    `cpu_percent`: of one core since the last sample, as `docker stats` counts it (200 = two full
    cores); None for the first sample. `memory_bytes`: without file cache. `memory_limit_bytes`:
    None if there is no limit. `restarts`: since the container was made, or since the monitor
    started. `health`: what the container's own health check says, empty if it has none.
    `network_*_bytes`, `disk_*_bytes`: counters since the start; None where nobody counts them, as
    a process' share of the network.
    """

    service: str
    state: str
    health: str = ""
    restarts: int = 0
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    network_received_bytes: int | None = None
    network_sent_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_written_bytes: int | None = None

    @property
    def memory_percent(self) -> float | None:
        """Of its limit, if it has one."""
        if self.memory_bytes is None or not self.memory_limit_bytes:
            return None
        return 100.0 * self.memory_bytes / self.memory_limit_bytes


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
