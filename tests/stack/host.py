"""A computer of the test's own: its memory, processes, mounts, network and Docker engine.

Its power can be cut. What is on `folder`'s disk outlasts that; `/run` does not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, sleep

import psutil

ADDRESS = "10.213.57.2"
NAME = "squeezeflow-host"
_GATEWAY = "10.213.57.1"
_LINK, _INNER_LINK = "sqfl-host", "sqfl-inner"
_CGROUPS = Path("/sys/fs/cgroup")
_UP_WITHIN_S = 60.0
_ROUTES = (
    f"-t nat {{}} POSTROUTING -s {ADDRESS} -j MASQUERADE",
    f"{{}} FORWARD -i {_LINK} -j ACCEPT",
    f"{{}} FORWARD -o {_LINK} -j ACCEPT",
)
_INIT = "mount -t tmpfs tmpfs /run && echo ready; while sleep 1000; do :; done"
"""The first process of a computer ends those whose parents are gone; bash does."""


class Host:
    """Needs root, and an engine beside it that has made this one route for others.

    The engine inside answers at `engine` from outside too. `processors`: how many it may use.
    """

    def __init__(self, folder: Path, *, memory_bytes: int, processors: int) -> None:
        self.folder = folder
        self.engine = f"unix://{folder}/engine.sock"
        self._cgroup = _Cgroup(memory_bytes, processors)
        self._power: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Switch it on; it answers when this returns."""
        own = ("--kill-child", "--fork", "--pid", "--mount", "--net", "--mount-proc")
        command = [*self._cgroup.join(), "unshare", *own, "bash", "-c", _INIT]
        self._power = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._power.stdout is not None
        with self._power.stdout as said:
            assert said.readline() == "ready\n"
        self._connect()
        log = self.folder / "dockerd.log"
        self.run("bash", "-c", f"setsid dockerd {' '.join(self._options())} >>{log} 2>&1 &")
        deadline = monotonic() + _UP_WITHIN_S
        while self.run("docker", "info", check=False).returncode:
            assert monotonic() < deadline, log.read_text()[-3000:]
            sleep(0.5)

    def cut_the_power(self) -> None:
        """Nothing is asked, and nothing survives but what is on the disk."""
        assert self._power is not None
        inside = psutil.Process(self._power.pid).children(recursive=True)
        self._power.kill()
        self._power.wait(30)
        # A process namespace takes all of its processes along when its first one is killed.
        _, alive = psutil.wait_procs(inside, timeout=30)
        assert alive == []
        self._power = None

    def remove(self) -> None:
        """Leave nothing of it but its disk."""
        if self._power is not None:
            self.cut_the_power()
        _unroute()
        self._cgroup.remove()

    def inside(self) -> tuple[str, ...]:
        """What is put in front of a command to run it there."""
        enter = ("nsenter", f"--target={self._first()}", "--mount", "--net", "--pid", "--")
        return (*self._cgroup.join(), *enter)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command there, as root."""
        return subprocess.run([*self.inside(), *command], capture_output=True, check=check)

    def load(self, images: Iterable[str]) -> None:
        """Bring images of the engine outside, as if they had been pulled."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            loading = [*self.inside(), "docker", "load", "--quiet"]
            subprocess.run(loading, stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)
        assert saved.returncode == 0

    def most_memory_bytes(self) -> int:
        """The most that it has ever used at once, what the kernel may drop included."""
        return self._cgroup.most_memory_bytes()

    def _first(self) -> int:
        """The number of its first process, as it is seen from outside."""
        assert self._power is not None
        [process] = psutil.Process(self._power.pid).children()
        return process.pid

    def _connect(self) -> None:
        peer = f"ip link add {_LINK} type veth peer name {_INNER_LINK} netns {self._first()}"
        for command in (peer, f"ip addr add {_GATEWAY}/30 dev {_LINK}", f"ip link set {_LINK} up"):
            subprocess.run(command.split(), check=True)
        for command in (
            "ip link set lo up",
            f"ip addr add {ADDRESS}/30 dev {_INNER_LINK}",
            f"ip link set {_INNER_LINK} up",
            f"ip route add default via {_GATEWAY}",
        ):
            self.run(*command.split())
        _unroute()
        for route in _ROUTES:
            subprocess.run(["iptables", "-w", *route.format("-I").split()], check=True)

    def _options(self) -> list[str]:
        return [
            f"--data-root={self.folder / 'docker'}",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            "--host=unix:///run/docker.sock",
            f"--host={self.engine}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent={self._cgroup.of_containers}",
        ]


def _unroute() -> None:
    for route in _ROUTES:
        command = ["iptables", "-w", *route.format("-D").split()]
        subprocess.run(command, check=False, capture_output=True)


class _Cgroup:
    """Of either version: limits what all processes below it use together. `of_containers`: the one
    that the engine makes its containers' in."""

    def __init__(self, memory_bytes: int, processors: int) -> None:
        period_us = 100_000
        if (_CGROUPS / "cgroup.controllers").exists():
            whole = _CGROUPS / NAME
            leaf = whole / "processes"
            self._folders = [whole, leaf]
            self._most = whole / "memory.peak"
            limits = {
                _CGROUPS / "cgroup.subtree_control": "+memory +cpu +pids",
                whole / "memory.max": str(memory_bytes),
                whole / "cpu.max": f"{processors * period_us} {period_us}",
                whole / "cgroup.subtree_control": "+memory +cpu +pids",
            }
            self._processes = [leaf / "cgroup.procs"]
        else:
            memory, cpu = _CGROUPS / "memory" / NAME, _CGROUPS / "cpu" / NAME
            self._folders = [memory, cpu]
            self._most = memory / "memory.max_usage_in_bytes"
            limits = {
                memory / "memory.limit_in_bytes": str(memory_bytes),
                cpu / "cpu.cfs_period_us": str(period_us),
                cpu / "cpu.cfs_quota_us": str(processors * period_us),
            }
            self._processes = [memory / "cgroup.procs", cpu / "cgroup.procs"]
        self.of_containers = f"/{NAME}/containers"
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
        for file, value in limits.items():
            file.write_text(value)

    def join(self) -> tuple[str, ...]:
        """What is put in front of a command to count it here."""
        files = " ".join(map(str, self._processes))
        return ("bash", "-c", f'echo $$ | tee {files} >/dev/null && exec "$@"', "-")

    def most_memory_bytes(self) -> int:
        return int(self._most.read_text())

    def remove(self) -> None:
        for folder in reversed(self._folders):
            for below in sorted(folder.rglob("*/"), reverse=True):
                below.rmdir()
            folder.rmdir()
