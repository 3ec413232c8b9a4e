"""Backup and restore of the stack as local processes."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.backup import collector, freqtrade, lines, redis_files, redis_sync
from scripts.backup.errors import BackupError
from scripts.stack.debian import Programs

START_TIMEOUT_S = 60.0
QUERY_TIMEOUT_S = 120.0
COPY_TIMEOUT_S = 3600


class Influx:
    """InfluxDB over HTTP, and its backup protocol through the influxd program."""

    def __init__(
        self,
        influxd: str,
        port: int,
        rpc_port: int,
        login: tuple[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._influxd, self._rpc, self._login = influxd, f"{host}:{rpc_port}", login
        self._base = f"http://{host}:{port}"

    def query(self, statement: str, **options: str) -> Any:
        """Run a statement. Raises `BackupError`."""
        body = urllib.parse.urlencode({"q": statement, **options}).encode()
        try:
            return json.loads(self._post("/query", body))
        except ValueError as error:
            raise BackupError(f"InfluxDB gives half an answer: {error}") from error

    def write(self, points: bytes, database: str, policy: str) -> None:
        """Write line protocol with times in nanoseconds. Raises `BackupError`."""
        where = urllib.parse.urlencode({"db": database, "rp": policy, "precision": "ns"})
        self._post(f"/write?{where}", points)

    def _post(self, path: str, body: bytes) -> bytes:
        request = urllib.request.Request(f"{self._base}{path}", body)
        if self._login:
            login = base64.b64encode(":".join(self._login).encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with urllib.request.urlopen(request, timeout=QUERY_TIMEOUT_S) as response:
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            raise BackupError(f"InfluxDB refuses a request: {error.read().decode()}") from error
        except OSError as error:
            raise BackupError(f"InfluxDB at {self._base} does not answer: {error}") from error

    def ping(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._base}/ping", timeout=1):
                return True
        except OSError:
            return False

    def transfer(self, *arguments: str) -> None:
        """Run `influxd backup` or `influxd restore`. Raises `BackupError`."""
        verb, rest = arguments[0], arguments[1:]
        run([self._influxd, verb, "-portable", "-host", self._rpc, *rest])


class NativeSource:
    """A running stack whose servers and folders are within reach: the local one, or one beside
    this container. See `scripts.backup.place.Source`."""

    def __init__(self, root: Path, environ: Mapping[str, str], influxd: str) -> None:
        self._root, self._environ = root, environ
        self.database = environ.get("INFLUX_DATABASE") or "significant_trades"
        password = _secret(environ, "INFLUX_PASSWORD")
        user = environ.get("INFLUX_USERNAME") or "squeezeflow"
        self._influx = Influx(
            influxd,
            int(environ.get("INFLUX_PORT") or 8086),
            int(environ.get("INFLUX_RPC_PORT") or 18088),
            (user, password) if password else None,
            environ.get("INFLUX_HOST") or "127.0.0.1",
        )
        self._redis_at = (
            environ.get("REDIS_HOST") or "127.0.0.1",
            int(environ.get("REDIS_PORT") or 6379),
            _secret(environ, "REDIS_PASSWORD"),
        )
        self._redis = client(*self._redis_at)

    @property
    def config(self) -> Path:
        """freqtrade's configuration file."""
        given = self._environ.get("FREQTRADE_CONFIG")
        return Path(given) if given else self._root / "freqtrade" / "config" / "config.json"

    def redis(self, *arguments: str) -> str:
        """Run a Redis command."""
        return command(self._redis, *arguments)

    def fetch_dump(self, target: Path) -> None:
        """Ask Redis for a dump."""
        redis_sync.fetch(*self._redis_at, target)

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement."""
        return self._influx.query(statement)

    def influx_ns(self, statement: str) -> Any:
        """Run an InfluxQL statement; times in nanoseconds."""
        return self._influx.query(statement, epoch="ns")

    def fetch_influx(self, target: Path) -> None:
        """Portable backup of the database."""
        self._influx.transfer("backup", "-db", self.database, str(target))

    def fetch_freqtrade(self, target: Path) -> None:
        """Archive freqtrade's folder."""
        folder = data_folder(self._root, self._environ)
        try:
            with target.open("wb") as file:
                freqtrade.pack(folder, file, target.parent)
        except sqlite3.Error as error:
            raise BackupError(
                f"A database of freqtrade's in {folder} cannot be copied: {error}. See whether "
                "freqtrade runs and its disk is well."
            ) from error

    def fetch_collector(self, target: Path) -> None:
        """Archive the collector's folder."""
        with target.open("wb") as file:
            usual = self._root / ".local/data/aggr-server"
            collector.pack(file, [Path(self._environ.get("AGGR_DATA_DIR") or usual)])


class NativeTarget:
    """Data folders, opened with servers of its own on free ports."""

    recomputes = False

    def __init__(self, folder: Path, freqtrade_folder: Path, programs: Programs) -> None:
        self._folder, self._freqtrade, self._programs = folder, freqtrade_folder, programs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        port, rpc_port = _free_port(), _free_port()
        self._redis_port, self._ports = _free_port(), (port, rpc_port)
        self._influx = Influx(programs.influxd, port, rpc_port)
        self._client = client("127.0.0.1", self._redis_port, "")

    @property
    def title(self) -> str:
        """The folder."""
        return str(self._folder)

    def open(self) -> None:
        """Start both servers."""
        for name in ("redis", "influx"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._start_redis()
        self._start_influx()

    def close(self) -> None:
        """Stop both servers."""
        for name in tuple(self._processes):
            self._stop(name)

    def redis(self, *arguments: str) -> str:
        """Run a Redis command."""
        return command(self._client, *arguments)

    def influx(self, statement: str) -> Any:
        """Run an InfluxQL statement."""
        return self._influx.query(statement)

    def freqtrade_databases(self) -> list[str]:
        """Names of the databases that are there."""
        return freqtrade.contents(self._freqtrade)

    def clear(self) -> None:
        """Empty the folders."""
        self.close()
        for name in ("redis", "influx"):
            shutil.rmtree(self._folder / name)
        collector.clear(self._folder / "aggr-server")
        freqtrade.clear(self._freqtrade)
        self.open()

    def put_redis(self, dump: Path) -> None:
        """Replace Redis' files, and start it on them."""
        self._stop("redis")
        redis_files.place_dump(dump, self._folder / "redis")
        self._start_redis()

    def put_influx(self, backup: Path, database: str) -> None:
        """Restore the portable backup."""
        self._influx.transfer("restore", "-db", database, str(backup))

    def put_freqtrade(self, archive: Path) -> None:
        """Unpack freqtrade's folder."""
        with archive.open("rb") as file:
            freqtrade.unpack(file, self._freqtrade)

    def put_collector(self, archive: Path) -> None:
        """Unpack the collector's folder."""
        with archive.open("rb") as file:
            collector.unpack(file, self._folder / "aggr-server")

    def login(self) -> None:
        """These servers ask for none."""

    def put_lines(self, path: Path, database: str, policy: str) -> None:
        """Write a file of line protocol."""
        for points in lines.batches(path):
            self._influx.write(points, database, policy)

    def _start_redis(self) -> None:
        arguments = ["--port", str(self._redis_port), "--bind", "127.0.0.1", "--appendonly", "yes"]
        arguments += ["--dir", str(self._folder / "redis")]
        self._start("redis", [self._programs.redis_server, *arguments], self._redis_answers)

    def _start_influx(self) -> None:
        data = self._folder / "influx"
        config = data / "restore.conf"
        config.write_text(_influxd_conf(data, *self._ports), encoding="utf-8")
        self._start(
            "influx", [self._programs.influxd, "run", "-config", str(config)], self._influx.ping
        )
        config.unlink()

    def _redis_answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def _start(self, name: str, arguments: Sequence[str], answers: Any) -> None:
        log = self._folder / f"restore-{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._processes[name] = process
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-1000:]
                raise BackupError(f"{name} does not start on {self._folder}:\n{tail}")
            time.sleep(0.05)

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        (self._folder / f"restore-{name}.log").unlink(missing_ok=True)


def client(host: str, port: int, password: str) -> redis.Redis:
    """A client that does not retry."""
    return redis.Redis(
        host=host,
        port=port,
        password=password or None,
        socket_timeout=30,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )


def command(bus: redis.Redis, *arguments: str) -> str:
    """Run a Redis command as it would be typed. Raises `BackupError`."""
    execute: Any = bus.execute_command
    try:
        answer = execute(*arguments)
    except redis.RedisError as error:
        raise BackupError(f"Redis does not do {arguments[0]}: {error}") from error
    if isinstance(answer, dict):
        return "\n".join(f"{key}:{value}" for key, value in answer.items())
    return str(answer)


def run(arguments: Sequence[str]) -> None:
    """Run a program. Raises `BackupError` with what it said last."""
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COPY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"influxd {arguments[1]} took over {COPY_TIMEOUT_S} s.") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise BackupError(f"influxd {arguments[1]} failed: {said}")


def data_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where freqtrade keeps its databases."""
    given = environ.get("FREQTRADE_DATA_DIR")
    return Path(given) if given else root / "freqtrade" / "user_data"


def _influxd_conf(data: Path, port: int, rpc_port: int) -> str:
    return f"""reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{data / "meta"}"
[data]
dir = "{data / "data"}"
wal-dir = "{data / "wal"}"
index-version = "tsi1"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[continuous_queries]
enabled = false
[retention]
enabled = false
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _secret(environ: Mapping[str, str], name: str) -> str:
    if value := environ.get(name):
        return value
    path = environ.get(f"{name}_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else ""
