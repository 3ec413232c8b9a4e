"""`replay`: recorded trades through the collector's own path, as if they happened."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from aggr_server import clock
from aggr_server.bars import BarBuilder
from aggr_server.bus import QUEUE, Bus, redis_client
from aggr_server.exchanges.base import Adapter, Instrument, Trade
from aggr_server.gaps import GapBook
from aggr_server.influx import InfluxClient
from aggr_server.markets import MarketState
from aggr_server.metrics import Metrics
from aggr_server.outlet import Outlet
from aggr_server.recordings import RecordedTrade, RecordingError, market_named, market_of, merged
from aggr_server.serve import make_writer
from aggr_server.settings import CollectorSettings
from aggr_server.spool import Spool
from aggr_server.throttle import Backoff
from aggr_server.writer import Writer

LAST_MESSAGES_S = 5.0
CLOSING_MS = 2000
"""Recorded time after the last trade until its bar is certainly closed."""


class Pace:
    """The clock of a replay. `speed`: recorded seconds in a second; 0: as fast as possible.

    Shifted trades are moved by whole seconds so that none lies in the future: at speed 1 the first
    one is now; faster, the last one is now when its turn comes. Times in ms.
    """

    def __init__(self, first_ms: int, last_ms: int, *, speed: float, own_time: bool) -> None:
        self.speed = speed
        self.shift_ms = 0
        if not own_time:
            length_ms = last_ms - first_ms + CLOSING_MS
            saved = 1 - 1 / speed if speed > 1 else 0 if speed else 1
            begin_s = math.floor((clock.now_ms() - length_ms * saved) / 1000)
            self.shift_ms = begin_s * 1000 - first_ms // 1000 * 1000
        self._begin_ms = first_ms + self.shift_ms
        self._started = clock.monotonic()

    def now(self) -> int:
        """The replay's time; only if it has a speed."""
        return self._begin_ms + int((clock.monotonic() - self._started) * 1000 * self.speed)


class Replay:
    """Feeds trades of the given markets to bars, InfluxDB and Redis."""

    def __init__(
        self,
        settings: CollectorSettings,
        markets: Sequence[tuple[Adapter, Instrument]],
        spool: Spool,
        writer: Writer,
        bus: Bus,
        pace: Pace,
    ) -> None:
        self.trades = 0
        self.bars = 0
        self._grace_ms = settings.aggr_grace_ms
        self._batch = settings.aggr_batch_size
        self._chunk = settings.influx_batch_size
        self._builder = BarBuilder(
            interval_s=settings.aggr_interval,
            grace_ms=settings.aggr_grace_ms,
            keep_s=settings.aggr_buffer_size,
        )
        gaps = GapBook(settings.aggr_interval)
        self._outlet = Outlet(settings.aggr_collector, gaps, Metrics(), spool, writer, bus)
        self._states = [_state(adapter, i, self._builder) for adapter, i in markets]
        self._writer = writer
        self._bus = bus
        self._pace = pace

    async def run(self, trades: Sequence[RecordedTrade]) -> None:
        """Replay until the last bar is stored."""
        last_ms = 0
        self._writer.add_markets([s.record() for s in self._states], clock.now_ms() // 1000)
        for number, trade in enumerate(trades):
            ts_ms = trade.ts_ms + self._pace.shift_ms
            await self._reach(ts_ms)
            self._states[trade.file].trade(
                Trade("", ts_ms, trade.price, trade.size_base, trade.is_buy, trade.id)
            )
            last_ms = max(last_ms, ts_ms)
            if number % self._batch == 0:
                await clock.sleep(0)
        self.trades = sum(state.trades for state in self._states)
        await self._reach(last_ms + self._builder.interval_s * 1000 + self._grace_ms)
        await self._store()
        with suppress(TimeoutError):
            async with clock.timeout(LAST_MESSAGES_S):
                await self._bus.room(1)

    async def _reach(self, ts_ms: int) -> None:
        """Let time pass until `ts_ms`, closing what ends meanwhile."""
        builder = self._builder
        if not builder.next_s:
            builder.advance(ts_ms + self._grace_ms)
        while True:
            due_ms = (builder.next_s + builder.interval_s) * 1000 + self._grace_ms
            # Being behind must not make the trades to come late ones.
            now = min(ts_ms, self._pace.now()) if self._pace.speed else ts_ms
            if now >= due_ms:
                await self._close(now)
            elif now >= ts_ms:
                return
            else:
                await clock.sleep((min(ts_ms, due_ms) - now) / 1000 / self._pace.speed)

    async def _close(self, now: int) -> None:
        for closed in self._builder.advance(now):
            self.bars += len(closed.bars)
            self._outlet.emit(closed)
            await self._bus.room(QUEUE)
            if self._pace.speed or self._writer.backlog >= self._chunk:
                await self._store()

    async def _store(self) -> None:
        backoff = Backoff(cap_s=5.0)
        while True:
            if await self._writer.flush():
                return
            await clock.sleep(backoff.next())


async def replay(
    settings: CollectorSettings,
    paths: Sequence[Path],
    *,
    speed: float = 1.0,
    own_time: bool = False,
    market: str = "",
) -> str:
    """Replay recorded trades; a line that says what was done. Raises `RecordingError`."""
    markets = [market_named(market) if market else market_of(path) for path in paths]
    trades = list(merged(paths))
    if not trades:
        raise RecordingError("the files hold no trades")
    pace = Pace(trades[0].ts_ms, trades[-1].ts_ms, speed=speed, own_time=own_time)
    async with InfluxClient(settings) as influx, redis_client(settings) as redis:
        records = {a.market(i): _state(a, i, BarBuilder()).record() for a, i in markets}
        bus = Bus(redis, markets=lambda: records, status=lambda: ("ok", {"replay": len(paths)}))
        sending = asyncio.create_task(bus.run())
        try:
            with _own_spool(settings) as spool:
                writer = make_writer(settings, influx, spool)
                work = Replay(settings, markets, spool, writer, bus, pace)
                await work.run(trades)
        finally:
            sending.cancel()
    return (
        f"replayed {work.trades} trades of {', '.join(records)}: {work.bars} bars, "
        f"{writer.points_written} points stored, {writer.points_refused} refused, "
        f"{bus.published} seconds published"
    )


@contextmanager
def _own_spool(settings: CollectorSettings) -> Iterator[Spool]:
    """Not the collector's, which may be running, and gone afterwards: a replay can be repeated."""
    with TemporaryDirectory(prefix="aggr-replay-") as folder:
        spool = Spool.open(Path(folder), settings.aggr_spool_max_bytes)
        try:
            yield spool
        finally:
            spool.close()


def _state(adapter: Adapter, instrument: Instrument, builder: BarBuilder) -> MarketState:
    # Recorded sizes are in base coins, whatever the venue publishes.
    instrument = msgspec.structs.replace(instrument, inverse=False, contract_size=1.0)
    series = builder.series(adapter.market(instrument))
    return MarketState(adapter, instrument, series, numbered=False)
