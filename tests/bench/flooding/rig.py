"""Processes for the flood, what they have used, and what has arrived where."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis
import requests

from aggr_server import wire
from scripts.stack.running import StackError
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.bench.flooding.shapes import SHAPES
from tests.integration.servers import InfluxServer, RedisServer, free_port

ROOT = Path(__file__).resolve().parents[3]
PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "aggr-server")))
WAIT_S = 60.0
LIVE_S = 3.0
"""From a feed's confirmation until the seconds that are built begin."""


def wait_for(what: str, done: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Raises `StackError` naming `what` if it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise StackError(f"ingest: {what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.1)


class Child:
    """A Python process that answers a line with a line."""

    def __init__(
        self, *arguments: str, log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": PYTHONPATH, **(environ or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._usage = psutil.Process(self._process.pid)

    def ask(self, line: str = "") -> str:
        """Send a line, if any, and wait for the answer. Raises `StackError` if it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if line:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        if answer := self._process.stdout.readline().strip():
            return answer
        tail = self._log.read_text(errors="replace")[-2000:]
        raise StackError(f"ingest: {self._process.args!r} has ended:\n{tail}")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system."""
        used = self._usage.cpu_times()
        return used.user + used.system

    def rss_mb(self) -> float:
        """Resident memory."""
        return self._usage.memory_info().rss / 1e6

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Stores:
    """A real Redis and a real InfluxDB with the schema, emptied for every collector."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = RedisServer(folder / "redis")
        self.influx = InfluxServer(folder / "influx")
        self._runs = 0

    def start(self) -> None:
        """Raises `RuntimeError`."""
        self.redis.start()
        self.influx.start()

    def stop(self) -> None:
        """End both."""
        self.redis.kill()
        self.influx.kill()

    def new_database(self) -> InfluxSchemaSettings:
        """Settings of an empty database with the schema."""
        self._runs += 1
        settings = InfluxSchemaSettings(
            influx_port=self.influx.port, influx_database=f"ingest_{self._runs}"
        )
        with influx_init.connect(settings) as client:
            influx_init.apply_schema(client, settings, report=lambda _: None)
        return settings


class Closing:
    """Listens to the bus: how long after its end each second was published."""

    def __init__(self, port: int) -> None:
        self.delays_ms: list[int] = []
        self._client = redis.Redis(port=port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(wire.CHANNEL)
            while not self._stop.is_set():
                if message := channel.get_message(timeout=0.5):
                    closed = wire.decode(message["data"])
                    if closed.bars:
                        end_ms = (closed.second + 1) * 1000
                        self.delays_ms.append(closed.published_ms - end_ms)

    def stop(self) -> list[int]:
        """The delays in ms, sorted."""
        self._stop.set()
        self._thread.join()
        self._client.close()
        return sorted(self.delays_ms)


class Venue:
    """The flooding venue."""

    def __init__(self, shape: str, markets: int, log: Path, clock: str = "") -> None:
        self.shape = SHAPES[shape](markets)
        self._child = Child("tests.bench.flooding.venue", shape, str(markets), clock, log=log)
        self.url = f"http://127.0.0.1:{self._child.ask()}"
        self.sent = 0

    def flood(self, trades: int, rate: float) -> int:
        """Send, and wait until it was received; how many."""
        sent = int(self._child.ask(f"flood {trades} {rate}"))
        self.sent += sent
        return sent

    def end(self) -> None:
        """Stop it."""
        self._child.end()


class Collector:
    """The real collector's process, following every market of a venue."""

    def __init__(self, venue: Venue, stores: Stores, clock: str = "") -> None:
        self._database = stores.new_database()
        self._http = f"http://127.0.0.1:{(port := free_port())}"
        data = stores.folder / self._database.influx_database
        self.child = Child(
            "aggr_server",
            log=stores.folder / "collector.log",
            environ={
                "PORT": str(port),
                "REDIS_PORT": str(stores.redis.port),
                "INFLUX_PORT": str(stores.influx.port),
                "INFLUX_DATABASE": self._database.influx_database,
                "EXCHANGE_GATEWAY": venue.url,
                "AGGR_MARKETS": ",".join(venue.shape.market(c) for c in venue.shape.coins),
                "AGGR_DATA_DIR": str(data),
                "SIMULATED_CLOCK": clock,
            },
        )

    def wait_live(self) -> None:
        """Until every market's trades are built to bars. Raises `StackError`."""
        wait_for("a live feed", lambda: self._health() == "ok")
        time.sleep(LIVE_S)

    def stored(self) -> int:
        """Trades in the bars InfluxDB has."""
        query = f"SELECT sum(cbuy) AS b, sum(csell) AS s FROM {_bars()}"
        with influx_init.connect(self._database) as client:
            points: Iterator[dict[str, Any]] = client.query(
                query, database=self._database.influx_database
            ).get_points()
            return sum(int(p["b"] or 0) + int(p["s"] or 0) for p in points)

    def _health(self) -> str:
        if not self.child.running:
            raise StackError("ingest: the collector has ended; see collector.log")
        session = requests.Session()
        session.trust_env = False
        try:
            return str(session.get(f"{self._http}/health", timeout=5).json()["status"])
        except requests.RequestException:
            return ""


@contextmanager
def ending(*things: Any) -> Iterator[None]:
    """End all of them at the end, whatever happens."""
    try:
        yield
    finally:
        for thing in things:
            thing.end()


def percentile(values: Sequence[int], share: float) -> int:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


def _bars() -> str:
    timeframe = wire.TIMEFRAMES[0]
    return f'"{timeframe.retention_policy}"."{timeframe.measurement}"'
