"""What the machine has left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, named by a path on it.

    `used_percent`: as `df` counts it, of what is used and what users may still have. `free_bytes`:
    what users may still have.
    """

    path: str
    used_percent: float
    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Host:
    """The machine. `cpu_percent`: of all cores together, 0 to 100, since the last sample; None for
    the first.

    `memory_available_bytes`: what programs can still get without swapping. `cores`: of the machine.
    """

    cpu_percent: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    load_1m: float
    cores: int
    disks: tuple[Disk, ...]

    @property
    def memory_percent(self) -> float:
        """What programs cannot get."""
        return 100.0 * (1 - self.memory_available_bytes / self.memory_total_bytes)

    @property
    def swap_percent(self) -> float | None:
        """Of the swap; None if there is none."""
        if not self.swap_total_bytes:
            return None
        return 100.0 * self.swap_used_bytes / self.swap_total_bytes


class HostSampler:
    """Samples the machine. psutil's own CPU percentages differ by the thread that asks."""

    def __init__(self, disk_paths: Sequence[str]) -> None:
        self._disk_paths = tuple(disk_paths)
        self._before: tuple[float, float] | None = None

    def sample(self) -> Host:
        """The machine now. Paths that do not exist are left out. May block on a disk that hangs."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return Host(
            cpu_percent=self._cpu_percent(),
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            swap_total_bytes=swap.total,
            swap_used_bytes=swap.used,
            load_1m=_load_1m(),
            cores=psutil.cpu_count() or 1,
            disks=tuple(d for path in self._disk_paths if (d := disk(path)) is not None),
        )

    def _cpu_percent(self) -> float | None:
        times = psutil.cpu_times()
        # The kernel counts what guests use as their owner's time as well.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._before = self._before, (total, idle)
        if before is None or total <= before[0]:
            return None
        share = 1 - (idle - before[1]) / (total - before[0])
        return 100.0 * min(1.0, max(0.0, share))


def use_procfs(path: str) -> None:
    """Read the machine's figures from this mount of its `/proc`.

    Raises OSError if there is none. Processes are looked up there too, under the machine's pids.
    """
    (Path(path) / "stat").stat()
    psutil.PROCFS_PATH = path


def disk(path: str) -> Disk | None:
    """The file system of a path; None if that does not exist."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    free = found.f_bavail * found.f_frsize
    percent = 100.0 * used / (used + free) if used + free else 0.0
    return Disk(path=path, used_percent=percent, used_bytes=used, free_bytes=free)


def _load_1m() -> float:
    return float((Path(psutil.PROCFS_PATH) / "loadavg").read_text(encoding="ascii").split()[0])
