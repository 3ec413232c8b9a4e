"""supervisord as seen from here: start it, ask it, stop it, and find what it may have left."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from supervisor.xmlrpc import SupervisorTransport

from scripts.stack.environment import MARK
from scripts.stack.layout import Layout
from scripts.stack.running import StackError, Usage

STOPPED_STATES = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Process:
    """A program as the supervisor sees it. `state`: RUNNING, BACKOFF, EXITED and so on."""

    name: str
    state: str
    pid: int
    exit_status: int
    uptime_s: int
    error: str


class Supervisor:
    """The supervisor of one clone."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def alive(self) -> bool:
        """Whether it answers. Raises `StackError` if it belongs to another user."""
        try:
            self._call("getState")
        except PermissionError as error:
            raise StackError(
                f"The stack was started by another user, who owns {self._layout.run}. "
                "Run this command as that user."
            ) from error
        except (OSError, http.client.HTTPException):
            return False
        return True

    def launch(self, config: Path, environ: Mapping[str, str]) -> None:
        """Start it in the background. Raises `StackError`."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "supervisord"), "-c", str(config)],
            env=dict(environ),
            cwd=self._layout.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        deadline = time.monotonic() + 15
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.alive():
                return
            time.sleep(0.05)
        text = (done.stderr or done.stdout).strip() or "it does not answer on its socket"
        raise StackError(f"supervisord did not start: {text}")

    def processes(self) -> dict[str, Process]:
        """Every program; empty if the supervisor is not running."""
        try:
            infos = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        except (OSError, http.client.HTTPException):
            return {}
        return {
            info["name"]: Process(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                exit_status=info["exitstatus"],
                uptime_s=max(0, info["now"] - info["start"]) if info["start"] else 0,
                error=info["spawnerr"],
            )
            for info in infos
        }

    def start(self, name: str) -> None:
        """Start a program; its readiness is another matter."""
        self._call("startProcess", name, False)

    def stop(self, names: Sequence[str], timeout_s: float) -> None:
        """Stop programs side by side and wait for them."""
        for name in names:
            try:
                self._call("stopProcess", name, False)
            except xmlrpc.client.Fault:
                continue  # not running, or unknown: nothing to stop
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            states = self.processes()
            if all(n not in states or states[n].state in STOPPED_STATES for n in names):
                return
            time.sleep(0.1)

    def shutdown(self, timeout_s: float = 60.0) -> None:
        """Stop the supervisor itself and whatever it still runs."""
        pid = cast(int, self._call("getPID"))
        for name in self.processes():
            try:
                # Left in, it would cost a second each, even if stopped.
                self._call("removeProcessGroup", name)
            except xmlrpc.client.Fault:
                continue  # still running: the shutdown stops it
        self._call("shutdown")
        try:
            psutil.Process(pid).wait(timeout_s)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            return

    def _call(self, method: str, *arguments: object) -> object:
        transport = SupervisorTransport("", "", f"unix://{self._layout.socket}")
        # The address is not used: the transport goes to the socket.
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)


def leftovers(root: Path) -> list[psutil.Process]:
    """Processes of this clone's stack, known by the mark in their environment.

    Redis writes its title over that; it is known by the folder it works in.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(root) or (
                process.name() == "redis-server"
                and Path(process.cwd()).is_relative_to(root / ".local")
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return found


def end(processes: list[psutil.Process], patience_s: float = 10.0) -> list[psutil.Process]:
    """Ask them to end, then kill; return those that live on."""
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=patience_s)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(alive, timeout=5)
    return alive


def usage(processes: Mapping[str, Process]) -> dict[str, Usage]:
    """CPU time and resident memory of each running program, its children included."""
    result = {}
    for name, process in processes.items():
        if not process.pid or name == "reviver":
            continue
        try:
            parent = psutil.Process(process.pid)
            family = [parent, *parent.children(recursive=True)]
            times = [member.cpu_times() for member in family]
            result[name] = Usage(
                cpu_s=sum(t.user + t.system for t in times),
                rss_bytes=sum(member.memory_info().rss for member in family),
            )
        except psutil.NoSuchProcess:
            continue
    return result
