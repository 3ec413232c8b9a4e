"""Real servers for tests: Redis and InfluxDB as child processes with data of their own."""

from __future__ import annotations

import functools
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from scripts.stack import debian
from scripts.stack.debian import Programs

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0


# Below the range from which the kernel gives ports to whoever asks for any.
PORTS = range(15_000, 32_000)
_reserved: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, given to no other test on this machine.

    As long as this process lives it keeps the UDP port of the same number, which other test
    processes find taken. Raises `RuntimeError` when hardly any port is left.
    """
    for _ in range(1000):
        port = random.SystemRandom().choice(PORTS)
        reservation = socket.socket(type=socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port
    raise RuntimeError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


@functools.cache
def programs() -> Programs:
    """The server programs: on PATH, or where `scripts/up.sh` puts them.

    Raises `RuntimeError`: a missing server fails the tests that need it.
    """
    found = debian.find(ROOT / ".local")
    if found is None:
        raise RuntimeError(
            "redis-server and influxd are neither on PATH nor in .local: run ./scripts/test.sh, "
            "which installs them"
        )
    return found


class Server:
    """A child process that listens on `port` of 127.0.0.1, restartable on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id. Raises `RuntimeError` when the server is not running."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers. Raises `RuntimeError` with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self._command()[0]} did not come up:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    """`redis-server`; with a password if one is given."""

    def __init__(self, folder: Path, password: str = "", *options: str) -> None:
        super().__init__(folder)
        self.password = password
        self._options = options

    def flush(self) -> None:
        """Forget everything. Raises `OSError`."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(64).startswith(b"+OK")

    def _command(self) -> list[str]:
        command = [programs().redis_server, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", "--loglevel", "warning"]
        if self.password:
            command += ["--requirepass", self.password]
        return [*command, *self._options]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class InfluxServer(Server):
    """`influxd`, continuous queries looked at every second; with authentication if asked for."""

    def __init__(self, folder: Path, *, auth: bool = False) -> None:
        super().__init__(folder)
        self.rpc_port = free_port()
        self._auth = auth

    def _command(self) -> list[str]:
        config = self.folder / "influxdb.conf"
        config.write_text(
            f"""reporting-enabled = false
bind-address = "127.0.0.1:{self.rpc_port}"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
  index-version = "inmem"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{self.port}"
  auth-enabled = {str(self._auth).lower()}
  log-enabled = false
[continuous_queries]
  log-enabled = false
  run-interval = "1s"
"""
        )
        start = ROOT / "docker" / "influx-start.sh"
        return [str(start), f"{self.folder}/wal", programs().influxd, "-config", str(config)]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=1) as answer:
                return int(answer.status) == 204
        except (OSError, urllib.error.URLError):
            return False
