"""Reads the seconds that were not heard live back from InfluxDB."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.log import kv
from aggr_server.wire import TIMEFRAMES, Market
from services.core.outage import Outage
from services.dashboard.stored import StoredBars
from services.dashboard.symbol import SymbolBars
from services.market.live import DATABASE_LAG_S

RETRY_S = 0.5
RETRY_CAP_S = 10.0
AGAIN_S = 60
"""What is read back begins this long before what was missed: late trades may have amended it."""

PUT_OFF_MS = 10_000
"""Spans that keep coming do not put off the reading for longer."""

_log = getLogger(__name__)


@dataclass(slots=True)
class _Wanted:
    from_s: int
    to_s: int
    due_ms: int
    latest_ms: int


class ReadBack:
    """One span for each symbol at a time; further ones widen it.

    A span is read when InfluxDB certainly has it, `DATABASE_LAG_S` after its end. The hours of the
    beginning go before.
    """

    def __init__(
        self,
        stored: StoredBars,
        *,
        markets: Callable[[str], Sequence[Market]],
        on_read: Callable[[SymbolBars, list[tuple[int, int]]], None],
        outage: Outage,
        now_ms: Callable[[], int],
    ) -> None:
        self._stored = stored
        self._markets = markets
        self._on_read = on_read
        self._outage = outage
        self._now_ms = now_ms
        self._wanted: dict[tuple[str, bool], tuple[SymbolBars, _Wanted]] = {}
        self._news = asyncio.Event()
        self.problem = ""

    def want(self, symbol: SymbolBars, from_s: int, to_s: int) -> None:
        """Read [from_s, to_s) as soon as it is certainly there."""
        symbol.forget(from_s, to_s)
        self._want(symbol, from_s, to_s, (to_s + DATABASE_LAG_S) * 1000, whole=False)

    async def run(self) -> None:
        """Read until cancelled; while InfluxDB is away, try again for ever."""
        delay_s = RETRY_S
        while True:
            due = self._next()
            if due is None or due[1].due_ms > self._now_ms():
                await self._wait(due[1].due_ms if due else None)
                continue
            symbol, span, whole = due
            del self._wanted[symbol.base, whole]
            try:
                await self._read(symbol, span.from_s, span.to_s)
            except InfluxUnavailable as error:
                self._outage.failed(error)
                self.problem = str(error)
            except InfluxError as error:
                _log.error("history of the page not read %s", kv(base=symbol.base, error=error))
                self.problem = str(error)
            else:
                self._outage.over()
                self.problem, delay_s = "", RETRY_S
                continue
            self._want(symbol, span.from_s, span.to_s, 0, whole=whole)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(RETRY_CAP_S, delay_s * 2)

    def load(self, symbol: SymbolBars) -> None:
        """Read all of the hours that are shown, at once."""
        now_s = self._now_ms() // 1000
        to_s = now_s - DATABASE_LAG_S
        symbol.reach(to_s - 1)
        symbol.forget(0, now_s)
        self._want(symbol, symbol.ring.start, to_s, 0, whole=True)
        self.want(symbol, to_s - AGAIN_S, now_s)

    def _want(
        self, symbol: SymbolBars, from_s: int, to_s: int, due_ms: int, *, whole: bool
    ) -> None:
        key = symbol.base, whole
        if key in self._wanted:
            known = self._wanted[key][1]
            known.from_s, known.to_s = min(known.from_s, from_s), max(known.to_s, to_s)
            known.due_ms = min(max(known.due_ms, due_ms), known.latest_ms)
        else:
            self._wanted[key] = symbol, _Wanted(from_s, to_s, due_ms, due_ms + PUT_OFF_MS)
        self._news.set()

    def _next(self) -> tuple[SymbolBars, _Wanted, bool] | None:
        if not self._wanted:
            return None
        (_, whole), (symbol, span) = min(self._wanted.items(), key=lambda one: one[1][1].due_ms)
        return symbol, span, whole

    async def _wait(self, due_ms: int | None) -> None:
        self._news.clear()
        timeout_s = None if due_ms is None else max(0.01, (due_ms - self._now_ms()) / 1000)
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _read(self, symbol: SymbolBars, from_s: int, to_s: int) -> None:
        markets = self._markets(symbol.base)
        from_s = max(from_s, symbol.ring.start)
        from_s -= from_s % 60
        # A whole minute, unless it is not over.
        whole_s = min(-(-to_s // 60) * 60, max(to_s, self._now_ms() // 1000 - DATABASE_LAG_S))
        found = await self._stored.seconds(markets, symbol.reference, from_s, whole_s)
        if symbol.complete_from is not None and from_s < symbol.complete_from <= whole_s:
            oldest = await self._stored.oldest(TIMEFRAMES[0], markets)
            symbol.complete_from = min(symbol.complete_from, max(from_s, oldest or whole_s))
        self._on_read(symbol, symbol.replace(found))
