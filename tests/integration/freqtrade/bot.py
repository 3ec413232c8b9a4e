"""The real freqtrade as a child process, and the strategy-runner's side of the hand-over."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import requests
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from services.core import names
from services.core.records import Action, Fill, Signal
from tests.integration.servers import free_port
from tests.signals import entry_fields

ROOT = Path(__file__).resolve().parents[3]
START = ROOT / "freqtrade" / "start.sh"
PASSWORD = "a-password-for-tests"
JWT_SECRET = "a-key-for-tests-of-more-than-32-characters"
FAST = {"FREQTRADE__EXCHANGE__CCXT_CONFIG__enableRateLimit": "false"}
"""Settings without the pause between two requests that a real exchange wants."""

NO_LOCKS = {
    "FREQTRADE_COOLDOWN_MIN": "0",
    "FREQTRADE_MAX_STOPS": "0",
    "FREQTRADE_MAX_DRAWDOWN": "0",
    "FREQTRADE_MAX_DAILY_LOSS": "1",
}
"""Settings under which losses of one test do not lock the entries of the next."""

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], timeout_s: float = 10.0) -> T:
    """The first true answer of `probe`. Raises `AssertionError` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not true within {timeout_s:g} s"
        time.sleep(0.01)
    return answer


def blocking_redis(port: int) -> Redis:
    """A client that rides over a restart of the server."""
    backoff = Retry(ExponentialBackoff(cap=0.5, base=0.05), 10)
    return Redis(port=port, retry=backoff, retry_on_error=[RedisConnectionError])


def pair_of(symbol: str) -> str:
    """`BTCUSDT` as freqtrade calls it."""
    return f"{symbol.removesuffix('USDT')}/USDT:USDT"


def environ(folder: Path, redis_port: int, exchange_url: str, api_port: int) -> dict[str, str]:
    """The environment in which start.sh runs freqtrade; secrets are files in `folder`."""
    for name, secret in (("password", PASSWORD), ("jwt", JWT_SECRET)):
        (folder / name).write_text(secret + "\n")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FREQTRADE", "REDIS"))}
    return {
        **inherited,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_port),
        "FREQTRADE_API_PASSWORD_FILE": str(folder / "password"),
        "FREQTRADE_JWT_SECRET_FILE": str(folder / "jwt"),
        "FREQTRADE_DATA_DIR": str(folder / "data"),
        "FREQTRADE__API_SERVER__LISTEN_PORT": str(api_port),
        "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic": exchange_url,
        **NO_LOCKS,
    }


class Bot:
    """freqtrade with data of its own, started by the project's own script.

    `settings`: environment variables beside those it needs.
    """

    def __init__(
        self,
        folder: Path,
        redis_port: int,
        exchange_url: str,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.environ = environ(folder, redis_port, exchange_url, self.port) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()
        self._http = requests.Session()
        self._http.auth = ("squeezeflow", PASSWORD)

    def __enter__(self) -> Bot:
        """Start it, for as long as the block lasts."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """Everything it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self, timeout_s: float = 150.0) -> None:
        """Start and wait until its loop turns. One that another thread kills must end first."""
        if self._process is not None:
            self._process.wait(30)
        began = time.time()
        with self._ending, (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(START)], env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout_s
        while not self._turns(began):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"freqtrade did not come up:\n{self.log[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        """End it in good order; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as a crash would; its exit status."""
        return self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop it and let go of the connection."""
        self.stop()
        self._http.close()

    @property
    def database(self) -> Path:
        """Its trades."""
        return self.folder / "data" / "tradesv3.dryrun.sqlite"

    def backup(self, to: Path) -> None:
        """Copy its trades while it runs."""
        with (
            closing(sqlite3.connect(self.database)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)

    def restore(self, copy: Path) -> None:
        """Put a copy of its trades in place of them. It must not run."""
        for path in self.database.parent.glob(self.database.name + "*"):
            path.unlink()
        shutil.copyfile(copy, self.database)

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def get(self, path: str) -> Any:
        """The answer of its API."""
        answer = self._http.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> None:
        """An order to its API."""
        answer = self._http.post(
            f"http://127.0.0.1:{self.port}/api/v1/{path}", json=body, timeout=10
        )
        answer.raise_for_status()

    def open_trades(self) -> list[dict[str, Any]]:
        """Open positions."""
        trades: list[dict[str, Any]] = self.get("status")
        return trades

    def trades_of(self, signal_id: str) -> list[dict[str, Any]]:
        """Open and closed trades of a signal."""
        every = [*self.open_trades(), *self.get("trades?limit=500")["trades"]]
        unique = {t["trade_id"]: t for t in every if t["enter_tag"] == f"sf:{signal_id}"}
        return list(unique.values())

    def let_turn(self, count: int = 2) -> None:
        """Wait until so many turns of its loop have ended; the last begun after this call if 2."""
        for _ in range(count):
            eventually(self._turned_since(self._last_turn()))

    def undelivered(self) -> int:
        """Marks of delivered fills that its closed trades lack."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            (missing,) = database.execute(
                "SELECT 2 * (SELECT COUNT(*) FROM trades) - (SELECT COUNT(*) FROM trade_custom_data"
                " WHERE cd_key IN ('sf_opened', 'sf_closed'))"
            ).fetchone()
        return int(missing)

    def _last_turn(self) -> str:
        return str(self.get("health")["last_process"])

    def _turned_since(self, before: str) -> Callable[[], bool]:
        return lambda: self._last_turn() != before

    def _turns(self, since: float) -> bool:
        try:
            last = self.get("health")["last_process_ts"]
        except requests.RequestException:
            return False
        return last is not None and last >= int(since)

    def _end(self, number: int) -> int:
        with self._ending:
            process, self._process = self._process, None
            if process is None:
                return 0
            process.send_signal(number)
            try:
                return process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()


class Runner:
    """What strategy-runner does with Redis: signals out, fills in."""

    def __init__(self, redis: Redis, prices: dict[str, float]) -> None:
        self.redis = redis
        self.prices = prices

    def entry(self, symbol: str = "BTCUSDT", action: Action = "LONG", **changes: Any) -> Signal:
        """A valid entry signal at the exchange's price."""
        now_ms, price = time.time_ns() // 1_000_000, self.prices[symbol]
        values = entry_fields(
            now_ms,
            signal_id=str(uuid.uuid4()),
            symbol=symbol,
            base_symbol=symbol.removesuffix("USDT"),
            pair=pair_of(symbol),
            action=action,
            entry_price=price,
            invalidation_price=price * (0.99 if action == "LONG" else 1.01),
            max_deviation=0.003,
            stop_price=price * (0.95 if action == "LONG" else 1.05),
            fence=7,
        )
        return Signal(**values | changes)

    def executed(self, symbol: str = "BTCUSDT", action: Action = "LONG", **changes: Any) -> Signal:
        """A valid entry signal that has been published and has led to a trade."""
        signal = self.entry(symbol, action, **changes)
        self.publish(signal)
        self.fill(signal.signal_id, "opened")
        return signal

    def close(self, entry: Signal, reason: str = "RANGE_BREAK") -> Signal:
        """The signal that ends the trade of `entry`."""
        return self.entry(
            entry.symbol,
            "CLOSE",
            event="EXIT",
            parent_signal_id=entry.signal_id,
            exit_reason=reason,
            stop_price=None,
        )

    def publish(self, signal: Signal, *, ttl: int | None = None, wake: bool = True) -> None:
        """Set the key; announce it unless `wake` is false."""
        data = msgspec.json.encode(signal)
        self.redis.set(names.signal(signal.symbol), data, ex=ttl or signal.ttl)
        if wake:
            self.redis.publish(names.SIGNALS_CHANNEL, data)

    def refresh(self, signal: Signal, *, wake: bool = True) -> None:
        """Set the key again, as its writer does each second."""
        now_ms = time.time_ns() // 1_000_000
        self.publish(msgspec.structs.replace(signal, refreshed_ms=now_ms), wake=wake)

    def withdraw(self, symbol: str) -> None:
        """Delete the key."""
        self.redis.delete(names.signal(symbol))

    def fills(self, count: int | None = None) -> Iterator[Fill]:
        """Everything on the fills stream, or the last `count` entries; oldest first."""
        entries: Any = self.redis.xrevrange(names.FILLS_STREAM, count=count)
        for _, fields in reversed(entries):
            yield msgspec.json.decode(fields[b"data"], type=Fill)

    def fill(self, signal_id: str, event: str, timeout_s: float = 10.0) -> Fill:
        """The fill of a signal, awaited."""
        return eventually(lambda: self.told(signal_id, event), timeout_s)

    def told(self, signal_id: str, event: str) -> Fill | None:
        """The fill of a signal if it is among the last on the stream."""
        return next(
            (f for f in self.fills(20) if f.signal_id == signal_id and f.event == event), None
        )
