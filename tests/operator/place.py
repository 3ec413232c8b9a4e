"""A clone of the project in a folder of its own, and the shell in which its operator types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from scripts.stack.native import running
from tests.integration.clones import clone_into
from tests.integration.servers import ROOT, free_port
from tests.programs import program

PORTS = {
    "PORT": 3000,
    "REDIS_PORT": 6379,
    "INFLUX_PORT": 8086,
    "INFLUX_RPC_PORT": 18088,
    "FREQTRADE_PORT": 8080,
    "HEALTH_PORT": 8090,
    "SIMULATOR_PORT": 18090,
}
"""Setting -> its default, which the documents name."""
VENUES = "BINANCE,BINANCE_FUTURES,BYBIT"
LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it wrote."""

    status: int
    text: str


@dataclass(slots=True)
class Place:
    """A clone at `root`, in whose shell `environ` is set. `ports`: setting -> the port that takes
    the place of its default. `address`: that takes the place of 127.0.0.1."""

    root: Path
    environ: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def run(self, command: str, timeout_s: float = LONGEST_S) -> Done:
        """Type `command` into a shell in the clone's folder."""
        done = subprocess.run(
            ["bash", "-c", self._here(command)],
            cwd=self.root,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def must(self, command: str) -> str:
        """The same; what it wrote. Raises `AssertionError` unless it ends with status 0."""
        done = self.run(command)
        assert done.status == 0, f"{command}\n{done.text}"
        return done.text

    @property
    def up(self) -> bool:
        """Whether local processes of the stack run."""
        return running(self.root) is not None

    @property
    def demo(self) -> bool:
        """Whether it is the demo that runs."""
        stack = running(self.root)
        return stack is not None and stack.demo

    def _here(self, command: str) -> str:
        others = {str(PORTS[name]): str(port) for name, port in self.ports.items()}
        return re.sub(
            r"127\.0\.0\.1:(\d+)",
            lambda found: f"{self.address}:{others.get(found[1], found[1])}",
            command,
        )


def cloned(folder: Path) -> Path:
    """A clone below `folder` with an upstream of its own, as `git clone` makes it."""
    root = clone_into(folder / "clone")
    name = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "PATH": os.environ["PATH"]}
    name |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "HOME": str(folder)}
    for command in (
        "git init --quiet --initial-branch main",
        "git add --all",
        "git commit --quiet --message release",
        "git clone --quiet --bare . ../upstream",
        "git remote add origin ../upstream",
        "git fetch --quiet",
        "git branch --quiet --set-upstream-to origin/main",
    ):
        subprocess.run(command.split(), cwd=root, env=name, check=True)
    return root


def without(folder: Path, *programs: str) -> str:
    """A PATH on which `programs` are not to be found, nor this test's own environment."""
    for name in programs:
        program(folder / name, f"echo {name}: not found >&2\nexit 127")
    ours = str(ROOT / ".local" / "venv" / "bin")
    return os.pathsep.join([str(folder), *(p for p in os.environ["PATH"].split(":") if p != ours)])


def trading_at(port: int) -> dict[str, str]:
    """Settings of a stack that trades at the simulated exchanges which listen on `port`."""
    gateway = f"http://127.0.0.1:{port}"
    return {
        "EXCHANGE_GATEWAY": gateway,
        "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic": (
            f"{gateway}/fapi.binance.com/fapi/v1"
        ),
        "AGGR_EXCHANGES": VENUES,
        "OI_EXCHANGES": "BINANCE_FUTURES,BYBIT",
    }


def native(folder: Path, exchanges: int, messages: int) -> Place:
    """A place without a Docker engine and without `python`, which Debian has not. `exchanges`: port
    of the simulated ones, which the real stack reaches. `messages`: of who takes messages."""
    ports = {name: free_port() for name in PORTS}
    environ = {
        "PATH": without(folder / "bin", "docker", "python"),
        "HOME": os.environ.get("HOME", "/root"),
        **trading_at(exchanges),
        "BENCH_HOURS": "0.05",
        **{name: str(port) for name, port in ports.items()},
    }
    place = Place(cloned(folder), environ, ports)
    (place.root / "secrets").mkdir(mode=0o700)
    (place.root / "secrets" / "notify_urls").write_text(f"json://127.0.0.1:{messages}\n")
    return place


class _Takes(BaseHTTPRequestHandler):
    """Whatever is sent."""

    def do_POST(self) -> None:
        """Take it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def messages() -> Iterator[int]:
    """Somebody who takes messages; the port they listen on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def exchanges(folder: Path) -> Iterator[int]:
    """Simulated exchanges; the port they listen on."""
    port = free_port()
    environ = {
        **os.environ,
        "SIMULATOR_PORT": str(port),
        "SIMULATOR_HISTORY": "false",
        "SIMULATOR_DIR": str(folder / "ledger"),
        "SIMULATOR_VENUES": VENUES,
        "REDIS_PORT": str(free_port()),
        "HEARTBEAT_DIR": str(folder / "alive"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}",
    }
    with (folder / "simulator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.simulator"], env=environ, stdout=log, stderr=log
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)
