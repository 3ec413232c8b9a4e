"""Services as local processes: under supervisord, or known only by their heartbeats."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class _Times:
    at_s: float
    cpu_s: Mapping[tuple[int, float], float]


class Families:
    """CPU and memory of process trees; CPU as the difference to the sample before."""

    def __init__(self) -> None:
        self._before: dict[str, _Times] = {}

    def usage(self, service: str, pid: int) -> tuple[float | None, int] | None:
        """CPU percent of one core, and resident bytes, of `pid` and its children.

        None if the process has ended. Memory that processes share counts once for each.
        """
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            self._before.pop(service, None)
            return None
        cpu: dict[tuple[int, float], float] = {}
        memory = 0
        for member in family:
            try:
                with member.oneshot():
                    times = member.cpu_times()
                    key = (member.pid, member.create_time())
                    cpu[key] = times.user + times.system
                    memory += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        now = _Times(time.monotonic(), cpu)
        before = self._before.get(service)
        self._before[service] = now
        return _percent(before, now, (pid, parent.create_time())), memory


def _percent(before: _Times | None, now: _Times, parent: tuple[int, float]) -> float | None:
    if before is None or parent not in before.cpu_s or now.at_s <= before.at_s:
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
        return Usage(
            service=name,
            state=str(info["statename"]).lower(),
            restarts=self._restarts.get(name, 0),
            cpu_percent=figures[0] if figures else None,
            memory_bytes=figures[1] if figures else None,
        )


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
        found = []
        for service, pid in sorted(self._pids.items()):
            figures = self._families.usage(service, pid)
            found.append(
                Usage(
                    service=service,
                    state="running" if figures else "exited",
                    restarts=self._restarts.get(service, 0),
                    cpu_percent=figures[0] if figures else None,
                    memory_bytes=figures[1] if figures else None,
                )
            )
        return found

    def close(self) -> None:
        """See `Source`: there are no connections."""
