"""The machine: CPU, memory, swap, load, disks and how fast they fill."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from services.core import names
from services.core.points import line
from services.monitor.host import Disk, Host, HostSampler
from services.monitor.measure.board import InThread, Unreadable
from services.monitor.readings import Reading

SUBJECT = "host"
WINDOW_S = 3600.0
SPACING_S = 30.0
LEAST_S = 600.0
"""Over less time than this, what is written by the way looks like a trend."""

NEVER_H = 8760.0
"""A year: told for every disk that takes longer, and for one that does not fill."""

Store = Callable[[Iterable[str]], None]


class Fill:
    """How fast a disk fills: slope of the least-squares line through the last hour."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, used_bytes: int) -> None:
        """`now_s`: monotonic. Samples closer than `SPACING_S` are left out."""
        if self._samples and now_s - self._samples[-1][0] < SPACING_S:
            return
        self._samples.append((now_s, used_bytes))
        while self._samples[0][0] < now_s - WINDOW_S:
            self._samples.popleft()

    @property
    def bytes_per_h(self) -> float | None:
        """Negative while it empties; None while less than `LEAST_S` is known."""
        if not self._samples or self._samples[-1][0] - self._samples[0][0] < LEAST_S:
            return None
        n = len(self._samples)
        mean_t = sum(t for t, _ in self._samples) / n
        mean_used = sum(used for _, used in self._samples) / n
        spread = sum((t - mean_t) ** 2 for t, _ in self._samples)
        shared = sum((t - mean_t) * (used - mean_used) for t, used in self._samples)
        return 3600.0 * shared / spread


def full_in_h(free_bytes: int, bytes_per_h: float) -> float:
    """Hours until nothing is free, at most `NEVER_H`."""
    if bytes_per_h * NEVER_H <= free_bytes:
        return NEVER_H
    return free_bytes / bytes_per_h


class Machine:
    """`store`: takes points of `host_stats` and `disk_stats`."""

    def __init__(self, sampler: HostSampler, store: Store) -> None:
        self._sample = InThread(sampler.sample)
        self._store = store
        self._fills: dict[str, Fill] = {}

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable` if the kernel's tables or a disk cannot be read."""
        try:
            host = await self._sample()
        except OSError as error:
            raise Unreadable(str(error)) from error
        now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        found, lines = [*of_host(host)], [_host_line(host, now_ms)]
        for disk in host.disks:
            fill = self._fills.setdefault(disk.path, Fill())
            fill.add(now_s, disk.used_bytes)
            found += of_disk(disk, fill.bytes_per_h)
            lines.append(_disk_line(disk, fill.bytes_per_h, now_ms))
        self._store(lines)
        return found


def of_host(host: Host) -> list[Reading]:
    """The machine's own readings; those not known are left out."""
    used = host.memory_total_bytes - host.memory_available_bytes
    values = {
        "host_cpu_percent": (host.cpu_percent, f"{host.cores} cores"),
        "host_memory_percent": (
            host.memory_percent,
            f"{used / 1e9:.1f} of {host.memory_total_bytes / 1e9:.1f} GB",
        ),
        "host_swap_percent": (
            host.swap_percent,
            f"{host.swap_used_bytes / 1e9:.1f} of {host.swap_total_bytes / 1e9:.1f} GB",
        ),
        "host_load_per_core": (
            host.load_1m / host.cores,
            f"load {host.load_1m:.2f} on {host.cores} cores",
        ),
    }
    return [
        Reading(name=name, subject=SUBJECT, value=value, detail=detail)
        for name, (value, detail) in values.items()
        if value is not None
    ]


def of_disk(disk: Disk, bytes_per_h: float | None) -> list[Reading]:
    """How full it is and, once its trend is known, for how long it lasts."""
    left = f"{disk.free_bytes / 1e9:.1f} GB left"
    found = [
        Reading(name="disk_used_percent", subject=disk.path, value=disk.used_percent, detail=left)
    ]
    if bytes_per_h is not None:
        hours = full_in_h(disk.free_bytes, bytes_per_h)
        rate = f"{left}, {bytes_per_h / 1e9:+.2f} GB an hour"
        found.append(Reading(name="disk_full_in_h", subject=disk.path, value=hours, detail=rate))
    return found


def _host_line(host: Host, now_ms: int) -> str:
    return line(
        names.HOST_MEASUREMENT,
        {},
        {
            "cpu_percent": host.cpu_percent,
            "memory_total_bytes": host.memory_total_bytes,
            "memory_available_bytes": host.memory_available_bytes,
            "swap_total_bytes": host.swap_total_bytes,
            "swap_used_bytes": host.swap_used_bytes,
            "load_1m": host.load_1m,
            "cores": host.cores,
        },
        now_ms,
    )


def _disk_line(disk: Disk, bytes_per_h: float | None, now_ms: int) -> str:
    return line(
        names.DISK_MEASUREMENT,
        {"path": disk.path},
        {
            "used_percent": disk.used_percent,
            "free_bytes": disk.free_bytes,
            "fill_bytes_per_h": bytes_per_h,
        },
        now_ms,
    )
