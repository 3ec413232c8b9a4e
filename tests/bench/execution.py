"""The real freqtrade: from a signal's publication until its trade is open, per signal."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from services.core.records import Signal
from tests.integration.freqtrade.bot import Bot, Runner, blocking_redis
from tests.integration.freqtrade.exchange import Exchange
from tests.integration.servers import RedisServer

CANDLE_S = 60.0
CANDLES = 5
OFFSETS_S = (-2.0, -1.0, -0.2, 0.6, 1.4, 2.2, 4.0, 10.0, 25.0, 40.0)
"""When signals come, from the beginning of a candle; every candle a little later than before."""

STEP_S = 0.16
POLL_S = 0.002
OPEN_WITHIN_S = 10.0
OPEN = "SELECT COUNT(*) FROM trades WHERE enter_tag = ? AND is_open AND amount > 0"


def run() -> dict[str, Any]:
    """freqtrade in a dry-run against a simulated exchange on this machine.

    As it is delivered, but for the locks on entries after losses.

    50 signals in turn for two markets, long and short, around the beginnings of five candles and
    between them. A trade is closed before the next signal comes.

    `p50_ms`, `p99_ms`, `max_ms`: from before the signal is set and announced until its trade stands
    filled in freqtrade's database. `told_*`: until its fill stands on the stream.
    `boundary_max_ms`: of signals within 3 s of the beginning of a candle. `signals`: published;
    `trades`: opened.
    """
    folder = Path(tempfile.mkdtemp(prefix="execution-"))
    redis = RedisServer(folder / "redis")
    redis.start()
    try:
        with (
            Exchange() as exchange,
            Bot(folder, redis.port, exchange.url) as bot,
            blocking_redis(redis.port) as client,
        ):
            figures = Measurement(bot, Runner(client, exchange.prices)).run()
    except RuntimeError as error:
        raise StackError(str(error)) from error
    finally:
        redis.kill()
    shutil.rmtree(folder, ignore_errors=True)
    return figures


class Measurement:
    """50 signals and what became of them."""

    def __init__(self, bot: Bot, runner: Runner) -> None:
        self._runner = runner
        self._database = bot.database
        self._progress = Progress()
        self._open_ms: list[float] = []
        self._told_ms: list[float] = []
        self._boundary_ms: list[float] = []

    def run(self) -> dict[str, Any]:
        """The figures. Raises `StackError` when a signal comes to nothing."""
        first = (time.time() - OFFSETS_S[0]) // CANDLE_S * CANDLE_S + CANDLE_S
        symbols = list(self._runner.prices)
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            for candle in range(CANDLES):
                self._progress.say("bench", f"candle {candle + 1} of {CANDLES}")
                for number, offset_s in enumerate(OFFSETS_S):
                    at = first + candle * CANDLE_S + offset_s + candle * STEP_S
                    time.sleep(max(0.0, at - time.time()))
                    signal = self._runner.entry(
                        symbols[number % 2], "SHORT" if number // 2 % 2 else "LONG"
                    )
                    self._one(database, signal, near=abs(offset_s) <= 3)
            (trades,) = database.execute("SELECT COUNT(*) FROM trades WHERE amount > 0").fetchone()
        return {
            **_quantiles("", self._open_ms),
            **_quantiles("told_", self._told_ms),
            "boundary_max_ms": round(max(self._boundary_ms), 1),
            "signals": len(self._open_ms),
            "trades": trades,
        }

    def _one(self, database: sqlite3.Connection, signal: Signal, *, near: bool) -> None:
        tag = f"sf:{signal.signal_id}"
        began = time.perf_counter()
        self._runner.publish(signal)
        _until("no trade", lambda: database.execute(OPEN, (tag,)).fetchone()[0] == 1)
        self._open_ms.append((time.perf_counter() - began) * 1000)
        if near:
            self._boundary_ms.append(self._open_ms[-1])
        _until("no fill", lambda: self._runner.told(signal.signal_id, "opened"))
        self._told_ms.append((time.perf_counter() - began) * 1000)
        self._runner.publish(self._runner.close(signal))
        _until("no end", lambda: self._runner.told(signal.signal_id, "closed"))
        self._runner.withdraw(signal.symbol)


def _until(otherwise: str, true: Callable[[], object]) -> None:
    deadline = time.monotonic() + OPEN_WITHIN_S
    while not true():
        if time.monotonic() > deadline:
            raise StackError(f"execution: {otherwise} within {OPEN_WITHIN_S:.0f} s of a signal")
        time.sleep(POLL_S)


def _quantiles(prefix: str, values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        f"{prefix}{name}_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)
        for name, share in shares.items()
    }
