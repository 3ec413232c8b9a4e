"""The loop: closed seconds in, decisions out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from services.core.records import Signal
from services.core.service import Pulse
from services.market.bars import ClosedBars
from services.market.live import BarFeed
from services.strategy.types import State
from services.trading.desk import Desk
from services.trading.memory import Settled
from services.trading.outbox import Outbox
from services.trading.stages import KEPT, Stages, spread
from services.trading.warmup import shortage

CURRENT_WITHIN_S = 5


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
    """Runs until cancelled; turns at least once a second, also without data.

    `on_written` is told when what follows from a turn is written.
    """

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
        self._settled = Settled()
        self.stages = Stages()
        feed.on_arrival = self.stages.arrived
        outbox.on_written = self._written
        self.on_written: Callable[[], None] = lambda: None
        self._lags_ms: deque[float] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Process closed seconds as they come."""
        while True:
            closed = await self._feed.closed(self._batch)
            cycle_ms = self._process(closed) if closed else 0.0
            lag_s = self._now_ms() / 1000 - (self.last_t + 1)
            self._outbox.turn(entries_current=lag_s < CURRENT_WITHIN_S + self._slowest_s)
            if closed:
                self._lags_ms.append(lag_s * 1000)
            # What follows from the second is on its way before anything else is done.
            await asyncio.sleep(0)
            details = self._details() if self._pulse.due else None
            self._pulse.beat(cycle_ms, status=self._status(lag_s), details=details)

    def _process(self, closed: Sequence[ClosedBars]) -> float:
        self.stages.taken(closed[0].t, closed[-1].t)
        for one in closed:
            for due in self._intake.add(one):
                self._desk.second(due)
                self.last_t = due.t
        return self.stages.decided()

    def _written(self, signals: Sequence[Signal]) -> None:
        self.stages.written()
        for signal in signals:
            self.stages.signalled(signal.bar_published_ms, self._now_ms())
        self.on_written()

    def _status(self, lag_s: float) -> str:
        if not self.last_t:
            return "no bars yet"
        if lag_s > CURRENT_WITHIN_S + self._slowest_s:
            return f"bars {lag_s:.0f} s behind"
        return self._desk.portfolio.blocked or "ok"

    def _details(self) -> dict[str, object]:
        traders = [t for t in self._desk.traders.values() if t.live]
        stages = self.stages.figures()
        loaded = {s: t.engine for s, t in self._desk.traders.items() if t.live or t.standby}
        self._settled.look(loaded)
        return {
            "states": {t.names.symbol: str(t.engine.state) for t in traders},
            "entries_allowed": not self._desk.portfolio.blocked,
            "halted": self._desk.portfolio.halted,
            "last_second": self.last_t,
            "lag_ms": self._now_ms() - (self.last_t + 1) * 1000 if self.last_t else None,
            "warm": bool(traders) and all(t.engine.state is not State.WARMUP for t in traders),
            "cycle_ms": stages.pop("decide", {}),
            "stages_ms": stages,
            "latest_ms": self.stages.latest(),
            "processed_after_ms": spread(self._lags_ms),
            "source": "redis" if self._feed.live else "influx",
            "late_bars": self._feed.late_bars,
            "lost_bars": self._feed.lost_bars,
            "warmup": {
                t.names.symbol: lack.details() for t in traders if (lack := shortage(t)) is not None
            },
            "coverage": {t.names.symbol: round(t.aggregator.coverage, 3) for t in traders},
        }
