"""The services that trade, as processes on a simulated market whose time passes faster."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from aggr_server.settings import Connections
from services.core import records
from tests.exactness.stack import Process, Stack, Timeline
from tests.integration.trading.executor import Executor

VENUES = ("BINANCE", "BINANCE_FUTURES", "BYBIT", "COINBASE")
GRACE_MS = 5000
"""How long the collector waits for a second's trades, in simulated time."""

BEHIND_S = 20.0
"""How far strategy-runner's clock is behind the collector's.

It waits for a collector some hundred milliseconds, which fast time turns into nothing. On a clock
that is behind it goes by the collector's word alone, as it does in real time.
"""

_LOADED = re.compile(r"history loaded symbol=(\w+) until=(\d+)")
_LIVE = re.compile(r"live symbol=(\w+) state=\w+ t=(\d+)")


class PastTimeline(Timeline):
    """Fast time that catches up with the real one in `duration_s`: nothing is of the future."""

    def __init__(self, speed: float, duration_s: float) -> None:
        super().__init__(speed)
        self._anchor_ms += int(duration_s / (speed - 1.0) * 1000)

    def behind(self, seconds: float) -> PastTimeline:
        """The same time, `seconds` later."""
        late = PastTimeline(self.speed, 0.0)
        late._anchor_ms = self._anchor_ms + int(seconds / (self.speed - 1.0) * 1000)
        return late


class LiveStack(Stack):
    """Simulator with history, collector, oi-tracker and strategy-runner, on their own servers.

    `duration_s`: simulated seconds that it is going to run for at most.
    """

    def __init__(self, folder: Path, speed: float, duration_s: float, seed: int) -> None:
        self.timeline = PastTimeline(speed, duration_s)
        super().__init__(folder, VENUES, self.timeline, seed)
        self.decided_at = self.timeline.behind(BEHIND_S)
        self.simulator = self._process(
            "services.simulator",
            SIMULATOR_PORT=self.gateway.rpartition(":")[2],
            SIMULATOR_DIR=str(folder / "simulator"),
            SIMULATOR_SEED=str(seed),
            SIMULATOR_VENUES=",".join(VENUES),
        )
        self.collector = self._process(
            "aggr_server",
            PORT=self.collector_url.rpartition(":")[2],
            AGGR_EXCHANGES=",".join(VENUES),
            AGGR_DATA_DIR=str(folder / "aggr-server"),
            AGGR_GRACE_MS=str(GRACE_MS),
        )
        self.runner = self._process(
            "services.strategy_runner",
            FREQTRADE_ENABLE_INTEGRATION="false",
            SIMULATED_CLOCK=self.decided_at.text,
        )
        # It asks at real intervals; its samples bear simulated time.
        interval_s = max(5, round(60 / speed))
        self.oi_tracker = self._process(
            "services.oi_tracker",
            OI_EXCHANGES="BINANCE_FUTURES,BYBIT",
            OI_INTERVAL_S=str(interval_s),
            SIMULATED_CLOCK=self.timeline.text,
        )

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait(self._ready, "the market's history")
            self.oi_tracker.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.runner.end(signal.SIGTERM)
        self.oi_tracker.end(signal.SIGTERM)
        super().__exit__(*exc)

    @property
    def opened_s(self) -> int:
        """The second in which trading began, before which there is only history."""
        return int(self.ask("control/status")["live_from"])

    @property
    def connections(self) -> Connections:
        """How a test reaches Redis and InfluxDB."""
        return Connections(redis_port=self.redis.port, influx_port=self.influx.port)

    def real_s(self, until_s: float) -> float:
        """Real seconds left until a simulated second."""
        return max(0.0, until_s - self.timeline.now_ms() / 1000) / self.timeline.speed

    def start_runner(self, symbols: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Start strategy-runner and wait until it decides.

        By symbol: the first second that was not history to it, and the one it was at by then.
        """
        self.runner.start()
        told = self.wait(lambda: self._live(symbols), "strategy-runner")
        loaded = {symbol: int(t) for symbol, t in _LOADED.findall(told)}
        return {s: t + 1 for s, t in loaded.items()}, {s: int(t) for s, t in _LIVE.findall(told)}

    def _ready(self) -> bool:
        status = self.ask("control/status")
        return bool(status and status["ready"])

    def _live(self, symbols: Sequence[str]) -> str:
        if not self.runner.running:
            raise RuntimeError(f"strategy-runner ended: {self.runner.log_end()}")
        text = self.runner.log.read_text(errors="replace")
        return text if {s for s, _ in _LIVE.findall(text)} == set(symbols) else ""

    def _process(self, module: str, **settings: str) -> Process:
        common = {"AGGR_SYMBOLS": "BTC,ETH", "HEARTBEAT_DIR": str(self.folder / "alive")}
        log = self.folder / f"{module.rpartition('.')[2]}.log"
        return Process(module, self.environment | common | settings, log)


class PriceSeen(Executor):
    """Fills every order in the second that was decided on, at the price that was seen in it."""

    def __init__(self, redis: Redis, symbols: Sequence[str], now_ms: Callable[[], int]) -> None:
        super().__init__(redis, symbols, now_ms)

    async def _report(self, signal: records.Signal, signal_id: str, **fields: Any) -> None:
        clock, self._now_ms = self._now_ms, lambda: int(signal.cvd["ts_ms"]) - 1
        try:
            await super()._report(signal, signal_id, **fields)
        finally:
            self._now_ms = clock


async def trade(executor: Executor, for_s: float) -> None:
    """Let `executor` work for so many real seconds; raises what ends it before."""
    working = asyncio.create_task(executor.run())
    try:
        await asyncio.wait({working}, timeout=for_s)
        if working.done():
            working.result()
    finally:
        # Cancelled in the moment in which Redis answers or times out, it goes on.
        while not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=1.0)
