"""The collector as a process of its own, and what it left behind compared with the tape."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis

from aggr_server import clock, wire
from aggr_server.influx import InfluxClient
from aggr_server.wire import Bar, ClosedSecond
from tests.integration.aggr_server.venue import Venue
from tests.integration.servers import ROOT, free_port
from tests.waiting import within

eventually = within(30.0)

MARKET = "BINANCE:btcusdt"
SYMBOL = "BTCUSDT"
SUMS = ("open", "high", "low", "close", "vbuy", "vsell", "cbuy", "csell")


class CollectorProcess:
    """`python -m aggr_server` on `venue`, restartable on the same folder.

    `prefix`: a command that becomes the collector, in surroundings of its making.
    """

    def __init__(
        self, venue: Venue, folder: Path, env: dict[str, str], prefix: Sequence[str] = ()
    ) -> None:
        self._prefix = prefix
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._env = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "aggr-server"),
            "AGGR_EXCHANGES": "BINANCE",
            "AGGR_SYMBOLS": "BTC",
            "AGGR_DATA_DIR": str(folder / "data"),
            "EXCHANGE_GATEWAY": venue.url,
            "PORT": str(free_port()),
            **env,
        }

    def start(self) -> None:
        """Start it; it is not waited for."""
        with self.log.open("ab") as log:
            command = [*self._prefix, sys.executable, "-m", "aggr_server"]
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Process id of the last one started."""
        assert self._process
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._env['PORT']}"

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it in good order; its exit status."""
        assert self._process
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 30)

    def _end(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait()


class Listener:
    """Every message on the bus."""

    def __init__(self) -> None:
        self.messages: list[ClosedSecond] = []

    @property
    def newest(self) -> int:
        """The newest closed second."""
        return self.messages[-1].second if self.messages else 0

    def missing(self) -> set[int]:
        """Seconds not known to be complete, by the newest record of each gap."""
        gaps = {(g.market, g.reason, g.from_s): g for m in self.messages for g in m.gaps}
        return {second for gap in gaps.values() for second in range(gap.from_s, gap.to_s)}

    def traded(self) -> set[str]:
        """Markets that have had a bar."""
        return {b.market for m in self.messages for b in m.bars}

    def bars(self) -> dict[int, Bar]:
        """The newest bar of each second."""
        return {b.time: b for m in self.messages for b in (*m.bars, *m.amended)}

    @asynccontextmanager
    async def listening(self, redis: Redis) -> AsyncIterator[Listener]:
        """Take messages meanwhile."""
        async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(wire.CHANNEL)
            task = asyncio.create_task(self._take(pubsub))
            try:
                yield self
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _take(self, pubsub: object) -> None:
        while True:
            message = await pubsub.get_message(timeout=30)  # type: ignore[attr-defined]
            if message:
                self.messages.append(wire.decode(message["data"]))


class Watched:
    """A venue, a collector on it, and what it sends."""

    def __init__(self, venue: Venue, collector: CollectorProcess, listener: Listener) -> None:
        self.venue = venue
        self.collector = collector
        self.listener = listener

    async def collecting(self) -> int:
        """Wait until seconds are complete; the newest of them."""
        await self.venue.subscribed.wait()
        begin = now_s()
        await eventually(lambda: self.listener.newest > begin)
        await eventually(lambda: self.listener.newest not in self.listener.missing())
        return self.listener.newest

    async def passed(self, second: int) -> None:
        """Wait until this second is closed."""
        await eventually(lambda: self.listener.newest >= second)


async def stored(influx: InfluxClient) -> tuple[dict[int, Bar], set[int]]:
    """Bars by second, and the seconds inside recorded gaps of trades, out of InfluxDB."""
    bars = {}
    for row in await influx.query("SELECT * FROM aggr_1s.trades_1s"):
        fields = {name: row[name] for name in (*wire.FLOAT_FIELDS, *wire.COUNT_FIELDS)}
        bars[row["time"]] = Bar(time=row["time"], market=row["market"], **fields)
    gaps = {
        second
        for row in await influx.query("SELECT * FROM gaps")
        if row["reason"] != wire.FORCED_ORDERS_ONLY
        for second in range(row["from_s"], row["to_s"])
    }
    return bars, gaps


def differing(tape: dict[int, Bar], bars: dict[int, Bar], seconds: range) -> list[str]:
    """Seconds in which `bars` are not those of the tape, each with what is different."""
    found = []
    for second in seconds:
        true, built = tape.get(second), bars.get(second)
        if true is None and (built is None or not built.cbuy + built.csell):
            continue
        if true is None or built is None or not _equal(true, built):
            found.append(f"{second}: tape {true}, bar {built}")
    return found


def _equal(true: Bar, built: Bar) -> bool:
    return all(
        abs(getattr(true, name) - getattr(built, name)) <= 1e-9 * abs(getattr(true, name))
        for name in SUMS
    )


def now_s() -> int:
    """UTC seconds by the clock of the package."""
    return clock.now_ms() // 1000
