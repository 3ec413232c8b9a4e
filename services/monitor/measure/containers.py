"""What the services use, as containers or as processes, and whether they keep ending."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from services.core import names
from services.core.points import line
from services.monitor.measure.board import InThread, Unreadable
from services.monitor.processes import KnownProcesses
from services.monitor.readings import Reading
from services.monitor.usage import Source, SourceError, Usage

WINDOW_S = 600.0

Store = Callable[[Iterable[str]], None]


class Restarts:
    """Restarts of each service within `WINDOW_S`, from counters that only grow."""

    def __init__(self) -> None:
        self._counts: dict[str, deque[tuple[float, int]]] = {}

    def lately(self, service: str, count: int, now_s: float) -> int:
        """Take note of a counter and tell by how much it has grown. `now_s`: monotonic."""
        counts = self._counts.setdefault(service, deque())
        if counts and count < counts[-1][1]:
            counts.clear()  # made anew: its counter begins again
        # Only changes matter, and the last value from before the window.
        if not counts or count != counts[-1][1]:
            counts.append((now_s, count))
        while len(counts) > 1 and counts[1][0] <= now_s - WINDOW_S:
            counts.popleft()
        return count - counts[0][1]


class Containers:
    """`pids`: tells service -> pid where nobody else knows. `store`: takes `container_stats`."""

    def __init__(
        self, source: Source, pids: Callable[[], Awaitable[Mapping[str, int]]], store: Store
    ) -> None:
        self._source = source
        self._pids = pids
        self._store = store
        self._sample = InThread(source.sample)
        self._restarts = Restarts()

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable` if the engine or the supervisor does not answer."""
        if isinstance(self._source, KnownProcesses):
            self._source.learn(await self._pids())
        try:
            usages = await self._sample()
        except SourceError as error:
            raise Unreadable(str(error)) from error
        now_ms = time.time_ns() // 1_000_000
        self._store(usage_line(usage, self._source.runtime, now_ms) for usage in usages)
        now_s = time.monotonic()
        return [reading for usage in usages for reading in self._of(usage, now_s)]

    def _of(self, usage: Usage, now_s: float) -> Iterable[Reading]:
        lately = self._restarts.lately(usage.service, usage.restarts, now_s)
        yield Reading(name="service_restarts_10min", subject=usage.service, value=float(lately))
        if usage.health in ("healthy", "unhealthy"):
            unhealthy = usage.health == "unhealthy"
            yield Reading(
                name="container_unhealthy",
                subject=usage.service,
                value=float(unhealthy),
                detail="its own health check fails" if unhealthy else "",
            )
        if (percent := usage.memory_percent) is not None:
            yield Reading(
                name="container_memory_percent",
                subject=usage.service,
                value=percent,
                detail=f"{(usage.memory_bytes or 0) / 1e6:.0f} of "
                f"{(usage.memory_limit_bytes or 0) / 1e6:.0f} MB",
            )


def usage_line(usage: Usage, runtime: str, now_ms: int) -> str:
    """A point of `container_stats`. Counters (`_bytes` of network and disk) only grow."""
    return line(
        names.CONTAINERS_MEASUREMENT,
        {"container": usage.service, "runtime": runtime},
        {
            "state": usage.state,
            "health": usage.health,
            "restarts": usage.restarts,
            "cpu_percent": usage.cpu_percent,
            "memory_bytes": usage.memory_bytes,
            "memory_limit_bytes": usage.memory_limit_bytes,
            "memory_percent": usage.memory_percent,
            "network_received_bytes": usage.network_received_bytes,
            "network_sent_bytes": usage.network_sent_bytes,
            "disk_read_bytes": usage.disk_read_bytes,
            "disk_written_bytes": usage.disk_written_bytes,
        },
        now_ms,
    )
