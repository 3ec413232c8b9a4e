"""The real processes of a run: Redis, InfluxDB, simulator and collector, on one fast clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.children import bare
from tests.integration.servers import ROOT, InfluxServer, RedisServer, free_port

ANSWER_WITHIN_S = 60.0
END_WITHIN_S = 20.0
LOG_END = 2000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Timeline:
    """Simulated time, as the processes have it: `speed` seconds pass in each real one."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._anchor_ms = time.time_ns() // 1_000_000

    @property
    def text(self) -> str:
        """The setting SIMULATED_CLOCK."""
        return f"{self._anchor_ms}*{self.speed}"

    def now_ms(self) -> int:
        """Simulated UTC milliseconds."""
        return self._anchor_ms + int((time.time_ns() / 1e6 - self._anchor_ms) * self.speed)

    def sleep_until(self, moment_ms: int) -> None:
        """Wait for a simulated moment."""
        time.sleep(max(0.0, (moment_ms - self.now_ms()) / 1000 / self.speed))


class Process:
    """A Python module run as a child, killed and started again."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self.module = module
        self.log = log
        self.starts = 0
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None
        self._cpu_before = 0.0

    def start(self) -> None:
        """Start it; its log is appended to."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: signal.Signals) -> bool:
        """Send it a signal and wait for its end; False if it had to be killed."""
        if self._child is None or self._child.poll() is not None:
            return True
        self._cpu_before = self.cpu_s
        self._child.send_signal(number)
        try:
            self._child.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            return False
        return True

    def log_end(self) -> str:
        """The last lines of its log."""
        return self.log.read_text(errors="replace")[-LOG_END:]

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def cpu_s(self) -> float:
        """CPU time of all its lives."""
        if not self.running or self._child is None:
            return self._cpu_before
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return self._cpu_before + (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Stack:
    """Everything a run needs, with its data in `folder`."""

    def __init__(self, folder: Path, venues: Sequence[str], timeline: Timeline, seed: int) -> None:
        self.redis = RedisServer(folder / "redis")
        self.influx = InfluxServer(folder / "influx")
        self.folder = folder
        self._simulator_port, port = free_port(), free_port()
        self.gateway = f"http://127.0.0.1:{self._simulator_port}"
        self.collector_url = f"http://127.0.0.1:{port}"
        self.environment = {
            **bare(),
            "HOME": str(folder),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}",
            "REDIS_PORT": str(self.redis.port),
            "INFLUX_PORT": str(self.influx.port),
            "EXCHANGE_GATEWAY": self.gateway,
            "SIMULATED_CLOCK": timeline.text,
        }
        self.simulator = Process(
            "services.simulator",
            self.environment
            | {
                "SIMULATOR_PORT": str(self._simulator_port),
                "SIMULATOR_DIR": str(folder / "simulator"),
                "SIMULATOR_SEED": str(seed),
                "SIMULATOR_VENUES": ",".join(venues),
                "SIMULATOR_HISTORY": "false",
                "HEARTBEAT_DIR": str(folder / "alive"),
            },
            folder / "simulator.log",
        )
        self.collector = Process(
            "aggr_server",
            self.environment
            | {
                "PORT": str(port),
                "AGGR_SYMBOLS": "BTC,ETH",
                "AGGR_EXCHANGES": ",".join(venues),
                "AGGR_DATA_DIR": str(folder / "aggr-server"),
            },
            folder / "collector.log",
        )

    def __enter__(self) -> Self:
        self.redis.start()
        self.influx.start()
        settings = InfluxSchemaSettings(influx_port=self.influx.port)
        with influx_init.connect(settings) as client:
            influx_init.apply_schema(client, settings, report=lambda _: None)
        self.simulator.start()
        self.wait(lambda: self.ask("control/status"), "the simulator")
        self.collector.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.end(signal.SIGTERM)
        self.simulator.end(signal.SIGTERM)
        self.influx.kill()
        self.redis.kill()

    def ask(self, path: str) -> Any:
        """A page of the simulator; None if it does not answer or refuses."""
        return self._fetch(f"{self.gateway}/{path}")

    def health(self) -> Any:
        """The collector's own account of itself; None if it does not answer."""
        return self._fetch(f"{self.collector_url}/health")

    def put_faults(self, plan: bytes) -> None:
        """Hand the simulator its plan. Raises `RuntimeError` with its reason if it refuses."""
        request = urllib.request.Request(f"{self.gateway}/control/faults", data=plan)
        try:
            with urllib.request.urlopen(request, timeout=30):
                return
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"faults refused: {error.read().decode()}") from error

    def wait(self, met: Callable[[], Any], what: str) -> Any:
        """Ask until the answer is true; the answer. Raises `RuntimeError` after a minute."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while time.monotonic() < deadline:
            if answer := met():
                return answer
            time.sleep(0.1)
            for process in (self.simulator, self.collector):
                if process.starts and not process.running:
                    raise RuntimeError(f"{process.module} ended: {process.log_end()}")
        raise RuntimeError(f"{what} did not get ready; the logs are in {self.folder}")

    def _fetch(self, url: str) -> Any:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None
