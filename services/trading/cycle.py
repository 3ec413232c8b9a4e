"""The loop: closed seconds in, decisions out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from services.core.service import Pulse
from services.market.bars import ClosedBars
from services.market.live import BarFeed
from services.strategy.types import State
from services.trading.desk import Desk
from services.trading.outbox import Outbox

CURRENT_WITHIN_S = 5
TIMED = 600


def spread(values: Iterable[float]) -> dict[str, float]:
    """Count, median, 99th percentile and maximum; nothing for no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    n = len(ordered)
    picked = {"median": ordered[n // 2], "p99": ordered[min(n - 1, n * 99 // 100)]}
    return {"count": n, **{k: round(v, 3) for k, v in picked.items()}, "max": round(ordered[-1], 3)}


class Intake:
    """Which closed seconds are due for processing.

    Bars are taken in every `data_interval` seconds, decisions are made every `run_interval`; then
    every second taken in meanwhile is processed. Both count from the UTC epoch.
    """

    def __init__(self, data_interval: int, run_interval: int) -> None:
        self._data_interval = data_interval
        self._run_interval = run_interval
        self._waiting: list[ClosedBars] = []
        self._taken: list[ClosedBars] = []

    def add(self, closed: ClosedBars) -> list[ClosedBars]:
        """Add a second; those to be processed now, oldest first."""
        self._waiting.append(closed)
        if (closed.t + 1) % self._data_interval == 0:
            self._taken += self._waiting
            self._waiting = []
        if (closed.t + 1) % self._run_interval:
            return []
        due, self._taken = self._taken, []
        return due


class Cycle:
    """Runs until cancelled; turns at least once a second, also without data."""

    def __init__(
        self,
        feed: BarFeed,
        intake: Intake,
        desk: Desk,
        outbox: Outbox,
        pulse: Pulse,
        *,
        batch: int,
        slowest_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._intake = intake
        self._desk = desk
        self._outbox = outbox
        self._pulse = pulse
        self._batch = batch
        self._slowest_s = slowest_s
        self._now_ms = now_ms
        self.last_t = 0
        self._cycles_ms: deque[float] = deque(maxlen=TIMED)
        self._lags_ms: deque[float] = deque(maxlen=TIMED)

    async def run(self) -> None:
        """Process closed seconds as they come."""
        while True:
            closed = await self._feed.closed(self._batch)
            started = time.perf_counter()
            for one in closed:
                for due in self._intake.add(one):
                    self._desk.second(due)
                    self.last_t = due.t
            lag_s = self._now_ms() / 1000 - (self.last_t + 1)
            self._outbox.turn(entries_current=lag_s < CURRENT_WITHIN_S + self._slowest_s)
            cycle_ms = (time.perf_counter() - started) * 1000
            if closed:
                self._cycles_ms.append(cycle_ms)
                self._lags_ms.append(lag_s * 1000)
            self._pulse.beat(cycle_ms, status=self._status(lag_s), details=self._details())
            if len(closed) == self._batch:
                await asyncio.sleep(0)

    def _status(self, lag_s: float) -> str:
        if not self.last_t:
            return "no bars yet"
        if lag_s > CURRENT_WITHIN_S + self._slowest_s:
            return f"bars {lag_s:.0f} s behind"
        return self._desk.portfolio.problem or "ok"

    def _details(self) -> dict[str, object]:
        traders = [t for t in self._desk.traders.values() if t.live]
        return {
            "states": {t.names.symbol: str(t.engine.state) for t in traders},
            "last_second": self.last_t,
            "lag_ms": self._now_ms() - (self.last_t + 1) * 1000 if self.last_t else None,
            "warm": bool(traders) and all(t.engine.state is not State.WARMUP for t in traders),
            "cycle_ms": spread(self._cycles_ms),
            "processed_after_ms": spread(self._lags_ms),
            "source": "redis" if self._feed.live else "influx",
            "coverage": {t.names.symbol: round(t.aggregator.coverage, 3) for t in traders},
        }
