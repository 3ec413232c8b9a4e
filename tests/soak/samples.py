"""What the processes of a running stack take, measured from outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import redis

from aggr_server.env import load
from scripts.stack.evidence import Evidence
from scripts.stack.native import NativeStack
from scripts.stack.probes import redis_client
from scripts.stack.supervise import Process
from services.core.settings import MonitorSettings

SERIES = "SHOW SERIES CARDINALITY"


class Usage(msgspec.Struct, frozen=True):
    """Of one service with its children. `pid`: a life ends where it changes."""

    pid: int
    uptime_s: int
    rss_bytes: int
    descriptors: int
    threads: int
    cpu_s: float


class Sample(msgspec.Struct, frozen=True):
    """One look at all of it; what did not answer just then is left out.

    `logged`: bytes each service has written into its log since the first look. `stores`: figures
    of Redis and InfluxDB, units in their names.
    """

    at_s: float
    services: dict[str, Usage]
    logged: dict[str, int]
    stores: dict[str, float]


class Logs:
    """Bytes that went into each log, whatever was rotated away meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[int, int]] = {}
        self._written: dict[str, int] = {}
        self._looked = False

    def look(self) -> dict[str, int]:
        """Service -> bytes since the first look."""
        for path in sorted(self._folder.glob("*.log")):
            # Of an event listener supervisord keeps one under a drawn name.
            name, status = path.stem.partition("---")[0], path.stat()
            unread = 0 if self._looked else status.st_size
            inode, size = self._read.get(name, (status.st_ino, unread))
            grown = status.st_size - size
            if inode != status.st_ino or grown < 0:
                grown = status.st_size + self._rest_of(name, inode, size)
            self._read[name] = (status.st_ino, status.st_size)
            self._written[name] = self._written.get(name, 0) + grown
        self._looked = True
        return dict(self._written)

    def _rest_of(self, name: str, inode: int, size: int) -> int:
        """What was still written into a file before it was renamed."""
        for path in self._folder.glob(f"{name}.log.*"):
            status = path.stat()
            if status.st_ino == inode:
                return max(0, status.st_size - size)
        return 0


class Sampler:
    """Looks at a native stack, as often as it is asked to."""

    def __init__(self, stack: NativeStack) -> None:
        self._stack = stack
        self._logs = Logs(stack.layout.log)
        self._evidence = Evidence(stack.environ)
        self._redis = redis_client(load(MonitorSettings, stack.environ))

    def look(self, now_s: float) -> Sample:
        """A sample at `now_s`, UTC seconds."""
        return Sample(now_s, dict(self._services()), self._logs.look(), self._stores())

    def _services(self) -> Iterator[tuple[str, Usage]]:
        for name, process in self._stack.supervisor.processes().items():
            if process.state != "RUNNING":
                continue
            try:
                yield name, _usage(process)
            except psutil.Error:
                continue  # it ended between the two calls

    def _stores(self) -> dict[str, float]:
        found: dict[str, float] = {}
        with suppress(redis.RedisError):
            memory = self._redis.info("memory")
            found["redis_used_bytes"] = float(memory["used_memory"])
            found["redis_keys"] = float(self._redis.dbsize())
        with suppress(OSError, LookupError):
            [counted] = self._evidence.influx(SERIES)
            found["influx_series"] = float(counted["cardinality estimation"])
        data = self._stack.layout.data
        for store in ("redis", "influx"):
            found[f"{store}_disk_bytes"] = float(_size(data / store))
        return found


def _usage(process: Process) -> Usage:
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    times = [member.cpu_times() for member in family]
    return Usage(
        pid=process.pid,
        uptime_s=process.uptime_s,
        rss_bytes=sum(member.memory_info().rss for member in family),
        descriptors=sum(member.num_fds() for member in family),
        threads=sum(member.num_threads() for member in family),
        cpu_s=round(sum(t.user + t.system for t in times), 2),
    )


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
