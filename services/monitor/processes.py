"""Services as local processes: under supervisord, or known only by their heartbeats."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psutil

from services.monitor.usage import SourceError, Usage

TIMEOUT_S = 3.0


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(TIMEOUT_S)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


class _SocketTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> http.client.HTTPConnection:
        connection = _SocketConnection(self._path)
        # Where the base class looks for it when it is closed.
        self._connection = (host, connection)
        return connection


Key = tuple[int, float]
"""pid and start, since pids are used again."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process and its children use. `cpu_percent`: of one core since the last sample.

    `memory_bytes`: resident; what they share counts once for each. `disk_*_bytes`: from and to
    disks since they are watched, also by children that have ended; None if the kernel does not
    tell us.
    """

    cpu_percent: float | None
    memory_bytes: int
    disk_read_bytes: int | None
    disk_written_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Sample:
    """Counters of each member: CPU seconds; bytes read and written, without those not told."""

    at_s: float
    cpu_s: Mapping[Key, float]
    disk: Mapping[Key, tuple[int, int]]


class Families:
    """Figures of process trees; CPU as the difference to the sample before."""

    def __init__(self) -> None:
        self._before: dict[str, _Sample] = {}
        self._disk: dict[str, tuple[int, int]] = {}

    def usage(self, service: str, pid: int) -> Figures | None:
        """Of `pid` and its children. None if the process has ended."""
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            key = (pid, parent.create_time())
        except psutil.NoSuchProcess:
            self._before.pop(service, None)
            return None
        now, memory = _look(family)
        if key not in now.cpu_s:
            return None  # ended meanwhile
        before = self._before.get(service)
        if before is not None and key not in before.cpu_s:
            before = None  # started anew
        self._before[service] = now
        read, written = self._disk_bytes(service, before, now) if key in now.disk else (None, None)
        return Figures(_percent(before, now), memory, read, written)

    def _disk_bytes(self, service: str, before: _Sample | None, now: _Sample) -> tuple[int, int]:
        read, written = (0, 0) if before is None else self._disk.get(service, (0, 0))
        for member, (read_now, written_now) in now.disk.items():
            read_then, written_then = before.disk.get(member, (0, 0)) if before else (0, 0)
            read += max(0, read_now - read_then)
            written += max(0, written_now - written_then)
        self._disk[service] = read, written
        return read, written


def _look(family: Sequence[psutil.Process]) -> tuple[_Sample, int]:
    """The counters, and resident bytes of all together."""
    cpu: dict[Key, float] = {}
    disk: dict[Key, tuple[int, int]] = {}
    memory = 0
    for member in family:
        try:
            with member.oneshot():
                times = member.cpu_times()
                key = (member.pid, member.create_time())
                cpu[key] = times.user + times.system
                memory += member.memory_info().rss
            counters = member.io_counters()
            disk[key] = counters.read_bytes, counters.write_bytes
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or only its owner may know
    return _Sample(time.monotonic(), cpu, disk), memory


def _percent(before: _Sample | None, now: _Sample) -> float | None:
    if before is None or now.at_s <= before.at_s:
        return None
    # A child born since has used all its time since.
    used = sum(max(0.0, cpu - before.cpu_s.get(key, 0.0)) for key, cpu in now.cpu_s.items())
    return 100.0 * used / (now.at_s - before.at_s)


class SupervisedProcesses:
    """Programs of the supervisord that listens on the socket at `path`."""

    runtime = "native"

    def __init__(self, path: str) -> None:
        self._path = path
        self._families = Families()
        self._started: dict[str, int] = {}
        self._restarts: dict[str, int] = {}

    def sample(self) -> list[Usage]:
        """See `Source`."""
        return [self._usage(info) for info in self._ask()]

    def close(self) -> None:
        """See `Source`: there is a new connection for each sample."""

    def _ask(self) -> list[dict[str, Any]]:
        proxy = xmlrpc.client.ServerProxy("http://localhost", _SocketTransport(self._path))
        try:
            with proxy as server:
                return cast(list[dict[str, Any]], server.supervisor.getAllProcessInfo())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise SourceError(f"supervisord at {self._path}: {error}") from error

    def _usage(self, info: Mapping[str, Any]) -> Usage:
        name, pid = str(info["name"]), int(info["pid"])
        started = int(info["start"])
        known = self._started.get(name)
        if started and known is not None and started != known:
            self._restarts[name] = self._restarts.get(name, 0) + 1
        if started:
            self._started[name] = started
        figures = self._families.usage(name, pid) if pid else None
        return _usage(name, str(info["statename"]).lower(), self._restarts.get(name, 0), figures)


class KnownProcesses:
    """Processes on this host whose pids the heartbeats tell, where nothing supervises them."""

    runtime = "native"

    def __init__(self) -> None:
        self._families = Families()
        self._pids: dict[str, int] = {}
        self._restarts: dict[str, int] = {}

    def learn(self, pids: Mapping[str, int]) -> None:
        """Take over service -> pid."""
        for service, pid in pids.items():
            if self._pids.get(service, pid) != pid:
                self._restarts[service] = self._restarts.get(service, 0) + 1
            self._pids[service] = pid

    def sample(self) -> list[Usage]:
        """See `Source`."""
        return [
            _usage(
                service,
                "running" if (figures := self._families.usage(service, pid)) else "exited",
                self._restarts.get(service, 0),
                figures,
            )
            for service, pid in sorted(self._pids.items())
        ]

    def close(self) -> None:
        """See `Source`: there are no connections."""


def _usage(service: str, state: str, restarts: int, figures: Figures | None) -> Usage:
    if figures is None:
        return Usage(service=service, state=state, restarts=restarts)
    return Usage(
        service=service,
        state=state,
        restarts=restarts,
        cpu_percent=figures.cpu_percent,
        memory_bytes=figures.memory_bytes,
        disk_read_bytes=figures.disk_read_bytes,
        disk_written_bytes=figures.disk_written_bytes,
    )
