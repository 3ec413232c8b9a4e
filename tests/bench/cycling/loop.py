"""strategy-runner on a history from memory; says on stdout when a second is written.

`python -m tests.bench.cycling.loop SYMBOLS`, connections and the rest from the environment. Lines
on stdin are requests: `taken` is answered when all symbols are led here, `warm` when they decide,
`report` with JSON.
For every second two numbers are written: when it was written to Redis (monotonic, ns), and its
index.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psutil
import uvloop

from aggr_server import log
from aggr_server.env import load
from aggr_server.wire import CHANNEL, Bar, Gap, Market
from services.core.settings import StrategySettings
from services.market.history import History, OpenInterestSeries
from services.strategy.types import Minute, State
from services.trading import app as wiring
from tests.bench.cycling import market


@functools.lru_cache(maxsize=1)
def coin(base: str) -> market.Coin:
    """The market of a symbol."""
    number = int(base[1:]) if base[1:].isdigit() else ("BTC", "ETH").index(base)
    return market.Coin(base, number)


class Remembered(History):
    """What InfluxDB would answer, without its time and memory."""

    async def seconds(
        self, markets: Sequence[Market], from_s: int, to_s: int
    ) -> dict[int, dict[str, Bar]]:
        rows = coin(markets[0].base).seconds(from_s, to_s)
        return {bars[0].time: {bar.market: bar for bar in bars} for bars in rows}

    async def bars(self, markets: Sequence[Market], from_s: int, to_s: int) -> list[Bar]:
        return []

    async def minutes(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> list[Minute]:
        return coin(markets[0].base).minutes(from_s, to_s)

    async def volumes(self, markets: Sequence[Market], from_s: int, to_s: int) -> dict[str, float]:
        return market.volumes(markets)

    async def gaps(self, markets: Sequence[Market], from_s: int, to_s: int) -> list[Gap]:
        return []

    async def open_interest(self, base: str, from_s: int, to_s: int) -> OpenInterestSeries:
        series = OpenInterestSeries()
        for t in range(from_s - from_s % 60, to_s, 60):
            for venue in ("BINANCE_FUTURES", "BYBIT", "OKX"):
                series.add(venue, t, 1000.0 + t % 3600 / 100)
        return series


class Measured:
    """The real app; notes when each second came in and when everything of it was in Redis."""

    def __init__(self, settings: StrategySettings) -> None:
        vars(wiring)["History"] = Remembered
        self.app = wiring.App(settings, now_ms=self._now_ms, lag_s=0.0)
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.seconds: list[int] = []
        self._came = (0.0, 0.0)
        self._turned = False
        handlers = self.app.feed._channels._handlers
        self._arriving, handlers[CHANNEL.encode()] = handlers[CHANNEL.encode()], self._arrive
        self._turning, self._flushing = self.app.outbox.turn, self.app.outbox.flush
        self.app.outbox.turn = self._turn  # type: ignore[method-assign]
        self.app.outbox.flush = self._flush  # type: ignore[method-assign]

    def _now_ms(self) -> int:
        return max((self.app.assembler.newest + 1) * 1000, market.BEGIN * 1000) + 200

    def _arrive(self, data: bytes) -> None:
        self._came = (time.perf_counter(), time.process_time())
        self._arriving(data)

    def _turn(self, **how: Any) -> None:
        self._turned = True
        self._turning(**how)

    async def _flush(self) -> None:
        turned, self._turned = self._turned, False
        await self._flushing()
        if not turned or self.app.cycle.last_t in self.seconds[-1:] or not self.app.cycle.last_t:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        self.wall_ms.append((wall - self._came[0]) * 1000)
        self.cpu_ms.append((cpu - self._came[1]) * 1000)
        self.seconds.append(self.app.cycle.last_t)
        print(time.perf_counter_ns(), self.app.cycle.last_t - market.BEGIN, flush=True)

    def forget(self) -> None:
        """Start measuring anew."""
        for values in (self.wall_ms, self.cpu_ms, self.seconds):
            values.clear()

    def warm(self) -> bool:
        """Whether every symbol decides."""
        return all(
            trader.live and trader.engine.state is not State.WARMUP
            for trader in self.app.traders.values()
        )

    def report(self) -> dict[str, Any]:
        """Everything measured."""
        states = [str(trader.engine.state) for trader in self.app.traders.values()]
        return {
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "seconds": self.seconds,
            "rss_mb": psutil.Process().memory_info().rss / 1e6,
            "window_s": min(t.engine.loaded.seconds for t in self.app.traders.values()),
            "states": {state: states.count(state) for state in sorted(set(states))},
            "stages": self.app.cycle.stages.figures(),
        }


async def _until_warm(measured: Measured) -> None:
    while True:
        if measured.warm():
            measured.forget()
            return
        await asyncio.sleep(0.1)


async def _requests(measured: Measured, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.strip():
            case "taken":
                while len(measured.app.leases.kept) < len(measured.app.traders):
                    await measured.app.leases.turn()
                await measured.app.feed.subscribed(60.0)
                print("taken", flush=True)
            case "warm":
                await _until_warm(measured)
                print("warm", flush=True)
            case "report":
                print(json.dumps(measured.report()), flush=True)
    stop.set()


async def _main(settings: StrategySettings) -> None:
    measured = Measured(settings)
    stop = asyncio.Event()
    asking = asyncio.create_task(_requests(measured, stop))
    await measured.app.run(stop)
    await asking


if __name__ == "__main__":
    log.setup("cycle", "WARNING")
    chosen = load(StrategySettings)
    symbols = tuple(market.bases(int(sys.argv[1])))
    os.environ.pop("AGGR_SYMBOLS", None)
    uvloop.run(
        _main(
            msgspec.structs.replace(
                chosen,
                aggr_symbols=symbols,
                squeezeflow_max_symbols=len(symbols),
                squeezeflow_parallel_processing=False,
                freqtrade_enable_integration=False,
            )
        )
    )
