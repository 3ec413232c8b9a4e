"""Are the ports free? Asked before anything starts."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import psutil

from scripts.stack.running import StackError


@dataclass(frozen=True, slots=True)
class Need:
    """A service that will listen. `setting`: the variable that moves it to another port."""

    service: str
    host: str
    port: int
    setting: str


def require_free(needs: list[Need]) -> None:
    """Raises `StackError` with one line for each port that is taken or wanted twice."""
    problems: list[str] = []
    seen: dict[int, Need] = {}
    for need in needs:
        if other := seen.get(need.port):
            problems.append(
                f"Port {need.port} is set for both {other.service} ({other.setting}) and "
                f"{need.service} ({need.setting}). Give one of them another port in .env."
            )
            continue
        seen[need.port] = need
        if reason := _refused(need):
            problems.append(_line(need, reason))
    if problems:
        raise StackError("\n".join(problems))


def _refused(need: Need) -> str:
    try:
        infos = socket.getaddrinfo(need.host, need.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return f"BIND_ADDRESS={need.host} is no address of this machine ({error.strerror})"
    family, kind, protocol, _, address = infos[0]
    with socket.socket(family, kind, protocol) as probe:
        # A listener that has just been stopped leaves connections in TIME_WAIT: no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError:
            return "not allowed for this user"
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _line(need: Need, reason: str) -> str:
    holder = _holder(need.port)
    what = f"used by {holder}" if holder else f"not available ({reason})"
    stop = "Stop that program, or choose" if holder else "Choose"
    return (
        f"Port {need.port}, needed by {need.service}, is {what}. "
        f"{stop} another port: {need.setting} in .env."
    )


def _holder(port: int) -> str:
    """Who listens there, as far as this user may know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, PermissionError):
        return ""
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == "LISTEN":
            if connection.pid is None:
                return "a program of another user"
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.NoSuchProcess:
                return ""
    return ""
