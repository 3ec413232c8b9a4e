"""A strategy-runner on a market of known outcome: bars in InfluxDB, then second by second."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import (
    CHANNEL,
    MARKETS_KEY,
    TIMEFRAMES,
    Bar,
    ClosedSecond,
    Market,
    encode,
)
from services.core import names
from services.core.records import Fill, Signal
from services.core.settings import StrategySettings
from services.market.symbols import pair_of, symbol_of
from services.trading.app import App
from services.trading.symbol import SymbolTrader
from tests.unit.strategy import scenarios
from tests.waiting import within

eventually = within(20.0)

FOUR_HOURS = 14_400
SPLIT = {
    "VENUE_A:btc-usd": ("spot", 0.6, 1.0005),
    "VENUE_B:btc-usd": ("spot", 0.4, 0.9995),
    "BINANCE_FUTURES:btcusdt": ("perp", 0.7, 1.0),
    "VENUE_B:btc-perp": ("perp", 0.3, 1.001),
}


def recent_start() -> int:
    """A second some hours ago from which scenarios run as they do from midnight."""
    return (int(time.time()) - 40_000) // FOUR_HOURS * FOUR_HOURS


def markets(base: str = "BTC") -> list[Market]:
    """The markets the flow is split over."""
    return [
        Market(name, name.partition(":")[0], base, "USDT", "spot" if kind == "spot" else "perp")
        for name, (kind, _, _) in SPLIT.items()
    ]


class Tape:
    """A scenario as bars of several markets. Seconds are indexed from the scenario's start.

    `mirrored`: other than the scenario says. `start`: UTC second, otherwise some hours ago.
    """

    def __init__(
        self, name: str, *, mirrored: bool | None = None, start: int | None = None
    ) -> None:
        self.start = recent_start() if start is None else start
        scenario = scenarios.SCENARIOS[name]
        if mirrored is not None:
            scenario = replace(scenario, mirrored=mirrored)
        self.market = scenarios.generate(scenario)
        self._seconds = list(self.market.seconds())

    def __len__(self) -> int:
        return len(self._seconds)

    def bars(self, i: int) -> list[Bar]:
        """All markets' bars of second `i`."""
        s = self._seconds[i]
        found = []
        for name, (kind, share, level) in SPLIT.items():
            delta = (s.spot_delta if kind == "spot" else s.perp_delta) * share
            volume = (s.spot_volume if kind == "spot" else s.perp_volume) * share
            o, h, lo, c = (p * level for p in (s.open, s.high, s.low, s.close))
            buy, sell = (volume + delta) / 2, (volume - delta) / 2
            found.append(Bar(self.start + i, name, o, h, lo, c, buy, sell, 3, 3, 0.0, 0.0))
        return found


def line(bar: Bar) -> str:
    """A bar in line protocol."""
    fields = ("open", "high", "low", "close", "vbuy", "vsell", "lbuy", "lsell")
    floats = ",".join(f"{name}={getattr(bar, name)!r}" for name in fields)
    return f"trades_1s,market={bar.market} {floats},cbuy={bar.cbuy}i,csell={bar.csell}i {bar.time}"


async def store(influx: InfluxClient, tape: Tape, first: int, stop: int) -> None:
    """Write the bars of [first, stop) as the collector does."""
    for start in range(first, stop, 1000):
        lines = [line(bar) for i in range(start, min(start + 1000, stop)) for bar in tape.bars(i)]
        await influx.write(lines, retention_policy=TIMEFRAMES[0].retention_policy)


class Runner:
    """strategy-runner in this process, on a clock that follows the tape."""

    def __init__(self, connections: Connections, tape: Tape, folder: Path, **settings: Any) -> None:
        self.tape = tape
        self.now_ms = 0
        known = {name: getattr(connections, name) for name in connections.__struct_fields__}
        chosen = {"aggr_symbols": ("BTC",), "freqtrade_enable_integration": False, **settings}
        self.settings = StrategySettings(**known, heartbeat_dir=str(folder), **chosen)
        self.app = App(self.settings, now_ms=lambda: self.now_ms, lag_s=0.0)
        self._redis = Redis(port=connections.redis_port)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seq = 0
        self.signals: list[Signal] = []

    @property
    def btc(self) -> SymbolTrader:
        return self.app.traders["BTC"]

    async def start(self, at: int) -> None:
        """Start it and let it load everything before second `at`, which is published."""
        for market in markets():
            await self._redis.hset(MARKETS_KEY, market.market, msgspec.json.encode(market))
        self.now_ms = (self.tape.start + at) * 1000
        self._task = asyncio.create_task(self.app.run(self._stop))
        await eventually(self._subscribed)
        await eventually(lambda: self.app.leases.kept)
        await self.publish(at)
        await eventually(lambda: self._failed() or self.btc.live)

    async def __aenter__(self) -> Runner:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.close()

    async def close(self) -> None:
        """Close the test's own connection."""
        await self._redis.aclose()

    async def stop(self) -> None:
        """End it in good order."""
        self._stop.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def kill(self) -> None:
        """End it without letting it write anything more."""
        task, self._task = self._task, None
        assert task is not None
        self.app.desk.save = lambda trader: None  # type: ignore[method-assign]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def publish(self, i: int, **changes: Any) -> None:
        """Send second `i` as the collector does, at 200 ms past its end."""
        second = self.tape.start + i
        self.now_ms = (second + 1) * 1000 + 200
        self._seq += 1
        message = ClosedSecond(
            "aggr-1", "e1", self._seq, second, self.now_ms, second * 1000 + 900, self.tape.bars(i)
        )
        for name, value in changes.items():
            setattr(message, name, value)
        await self._redis.publish(CHANNEL, encode(message))

    async def play(self, first: int, stop: int, until: Callable[[], bool] | None = None) -> int:
        """Publish second by second as they are taken; the index after the last one."""
        for i in range(first, stop):
            await self.publish(i)
            await self.taken(i)
            if until is not None and until():
                return i + 1
        return stop

    async def listening(self) -> None:
        """Wait until Redis itself knows of the subscription to the bars."""

        async def listeners() -> int:
            ((_, count),) = await self._redis.pubsub_numsub(CHANNEL)
            return int(count)

        await eventually(listeners)

    def skip(self, count: int = 1) -> None:
        """Lose the next messages."""
        self._seq += count

    async def taken(self, i: int) -> None:
        """Wait until second `i` has been processed."""
        await eventually(lambda: self._failed() or self.app.cycle.last_t >= self.tape.start + i)

    async def shown(self) -> Signal | None:
        """What stands in the symbol's key."""
        raw = await self._redis.get(names.signal("BTCUSDT"))
        return msgspec.json.decode(raw, type=Signal) if raw else None

    async def until_shown(self, shown: bool = True) -> Signal | None:
        """Wait until the symbol's key is there, or gone."""
        for _ in range(2000):
            if bool(signal := await self.shown()) == shown:
                return signal
            await asyncio.sleep(0.002)
        raise AssertionError(f"signal key: expected {shown}")

    async def fill(self, event: str, signal: Signal, **fields: Any) -> None:
        """Report a fill as the executor does, `ts_ms` now."""
        data = {
            "event": event,
            "signal_id": signal.signal_id,
            "symbol": symbol_of("BTC"),
            "pair": pair_of("BTC"),
            "side": "long" if signal.action == "LONG" else "short",
            "ts_ms": self.now_ms,
            "trade_id": 1,
            "price": signal.entry_price,
            **fields,
        }
        fill = msgspec.convert(data, Fill)
        await self._redis.xadd(names.FILLS_STREAM, {"data": msgspec.json.encode(fill)})

    def _subscribed(self) -> bool:
        return self._failed() or self.app.feed._subscribed.is_set()

    def _failed(self) -> bool:
        if self._task is not None and self._task.done():
            self._task.result()
        return False


def close(a: float, b: float) -> bool:
    """Equal but for the order of additions."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


@asynccontextmanager
async def live(
    connections: Connections, influx: InfluxClient, folder: Path, at: int, name: str = "S5"
) -> AsyncIterator[Runner]:
    """A runner that has loaded a scenario up to its second `at`, and decides from then on."""
    tape = Tape(name)
    await store(influx, tape, 0, at)
    async with Runner(connections, tape, folder) as runner:
        await runner.start(at)
        yield runner
