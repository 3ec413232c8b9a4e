"""The past of a symbol in bars of any length: from the ring, and before it from InfluxDB."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from aggr_server.influx import InfluxError, InfluxUnavailable
from aggr_server.wire import TIMEFRAMES, Market
from services.dashboard.protocol import History
from services.dashboard.ring import PRICES, Floats, empty, longer
from services.dashboard.stored import StoredBars, timeframe
from services.dashboard.symbol import SymbolBars

MOST_BARS = 5_000
MOST_S = 30 * 86_400
STEPS = (1, 5, 15, *(t.seconds for t in TIMEFRAMES[1:]))
LATE_S = 1_800
"""Longer bars are stored this much after their end at the latest."""

BESIDES_S = 3.0
"""The bars do not wait longer than this for what is shown beside them."""

KEPT_ANSWERS = 32
STORED_FOR_S = 60.0
FRESH_FOR_S = 0.9
_GZIP_LEVEL = 4
_ONE_MINUTE = TIMEFRAMES[1]

Markers = Callable[[str, int, int], Awaitable[Mapping[str, list[dict[str, Any]]]]]


class BadRequest(ValueError):
    """What is asked for cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Bars of `step` seconds that begin in [from_s, to_s); both begin a bar."""

    symbol: str
    step: int
    from_s: int
    to_s: int


class Past:
    """Answers are kept, so that many viewers cost what one does. `markers`: signals and trades."""

    def __init__(
        self,
        symbols: Mapping[str, SymbolBars],
        stored: StoredBars,
        markets: Callable[[str], Sequence[Market]],
        markers: Markers,
        now_ms: Callable[[], int],
        note: Callable[[str, object], None] = lambda who, problem: None,
    ) -> None:
        self._symbols = symbols
        self._stored = stored
        self._markets = markets
        self._markers = markers
        self._now_ms = now_ms
        self._note = note
        self._answers: OrderedDict[Any, tuple[float, asyncio.Future[Any]]] = OrderedDict()

    def asked(self, query: Mapping[str, str]) -> Asked:
        """What a query string asks for. Raises `BadRequest`."""
        symbol = query.get("symbol", "")
        if symbol not in self._symbols:
            raise BadRequest(f"symbol={symbol}: known are {', '.join(self._symbols)}")
        step = _integer(query, "step")
        if step not in STEPS:
            raise BadRequest(f"step={step}: there are {', '.join(map(str, STEPS))} seconds")
        from_s, to_s = _integer(query, "from"), _integer(query, "to")
        if not from_s < to_s:
            raise BadRequest("from: must be before to")
        now_s = self._now_ms() // 1000
        ring = self._symbols[symbol].ring
        # Seconds that are not known yet have no bar, and single ones are known for hours only.
        to_s = min(to_s, ring.end or now_s)
        from_s = max(from_s, now_s - MOST_S if step >= 60 else (ring.start or now_s))
        first, last = from_s - from_s % step, -(-to_s // step) * step
        if step < 60 and first < ring.start:
            first += step
        if (last - first) // step > MOST_BARS:
            raise BadRequest(f"at most {MOST_BARS} bars at once: take a longer step")
        return Asked(symbol, step, min(first, last), last)

    async def answer(self, asked: Asked) -> bytes:
        """The `History` as gzipped JSON. Raises `InfluxError`, `InfluxUnavailable` if bars are
        wanted that only InfluxDB has."""
        found: bytes = await self._once(asked, FRESH_FOR_S, self._answer)
        return found

    async def history(self, asked: Asked) -> History:
        """The same as an object."""
        symbol = self._symbols[asked.symbol]
        edge = min(max(_ring_from(symbol, asked.step), asked.from_s), asked.to_s)
        parts = [empty(0)]
        complete_from = symbol.complete_from if symbol.complete_from is not None else asked.to_s
        if asked.from_s < edge:
            older = ("older", asked.symbol, asked.step, asked.from_s, edge)
            columns, complete_from = await self._once(older, STORED_FOR_S, self._older)
            parts.append(columns)
        if edge < asked.to_s:
            parts.append(_from_ring(symbol, asked.step, edge, asked.to_s))
        oi: tuple[list[int], list[float]] = ([], [])
        markers: Mapping[str, list[dict[str, Any]]] = {}
        try:
            async with asyncio.timeout(BESIDES_S):
                base = symbol.base
                oi = await self._stored.open_interest(base, asked.from_s, asked.to_s, asked.step)
                markers = await self._markers(asked.symbol, asked.from_s, asked.to_s)
        except (InfluxError, InfluxUnavailable, TimeoutError) as error:
            # The bars are worth showing without them.
            self._note("history", str(error) or f"no answer within {BESIDES_S:g} s")
        else:
            self._note("history", None)
        return _history(asked, np.concatenate(parts, axis=1), oi, complete_from, markers)

    async def _answer(self, asked: Asked) -> bytes:
        data = msgspec.json.encode(await self.history(asked))
        return await asyncio.to_thread(gzip.compress, data, _GZIP_LEVEL)

    async def _older(self, key: tuple[str, str, int, int, int]) -> tuple[Floats, int]:
        """From what is stored; the newest bars from minutes, which are stored before longer ones.

        With the first second from which everything that was recorded is stored.
        """
        _, name, step, from_s, to_s = key
        symbol = self._symbols[name]
        markets, reference = self._markets(symbol.base), symbol.reference
        late_s = self._now_ms() // 1000 - step - LATE_S
        edge = min(max(late_s - late_s % step, from_s), to_s)
        parts = [
            await self._stored.bars(source, step, markets, reference, start, end)
            for source, start, end in ((timeframe(step), from_s, edge), (_ONE_MINUTE, edge, to_s))
            if start < end
        ]
        oldest = await self._stored.oldest(timeframe(step), markets)
        if oldest is None:
            oldest = await self._stored.oldest(_ONE_MINUTE, markets)
        return np.concatenate(parts, axis=1), to_s if oldest is None else oldest

    async def _once(self, key: Any, keep_s: float, make: Callable[[Any], Awaitable[Any]]) -> Any:
        """What `make` makes of `key`, for all who ask within `keep_s`. A failure is not kept."""
        now = time.monotonic()
        known = self._answers.get(key)
        if known is None or known[0] < now:
            future = asyncio.ensure_future(make(key))
            self._answers[key] = known = now + keep_s, future
            self._answers.move_to_end(key)
            while len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)
        try:
            # Who goes away must not take the answer from the others.
            return await asyncio.shield(known[1])
        except Exception:
            if self._answers.get(key) is known and known[1].done():
                del self._answers[key]
            raise


def _integer(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise BadRequest(f"{name}={text[:20]}: a number of UTC seconds is needed")
    return int(text)


def _ring_from(symbol: SymbolBars, step: int) -> int:
    """The first bar that is wholly in the ring; those shorter than a minute are nowhere else."""
    if step < 60:
        return 0
    if not symbol.ring.end or symbol.complete_from is None:
        return 1 << 40
    first = max(symbol.ring.start, symbol.complete_from)
    return -(-first // step) * step


def _from_ring(symbol: SymbolBars, step: int, from_s: int, to_s: int) -> Floats:
    ring = symbol.ring
    first, last = max(from_s, ring.start), min(to_s, ring.end)
    columns = empty(to_s - from_s)
    if first < last:
        columns[:, first - from_s : last - from_s] = ring.between(first, last)
    return longer(columns, step)


def _history(
    asked: Asked,
    columns: Floats,
    oi: tuple[list[int], list[float]],
    complete_from: int,
    markers: Mapping[str, list[dict[str, Any]]],
) -> History:
    # JSON has no NaN: msgspec writes null, which is what is meant.
    prices: list[list[float | None]] = columns[:PRICES].tolist()
    flows: list[list[float]] = np.round(columns[PRICES:], 2).tolist()
    return History(
        symbol=asked.symbol,
        step=asked.step,
        t=list(range(asked.from_s, asked.to_s, asked.step)),
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        spot=flows[0],
        perp=flows[1],
        spot_volume=flows[2],
        perp_volume=flows[3],
        lbuy=flows[4],
        lsell=flows[5],
        oi_t=oi[0],
        oi_coins=oi[1],
        complete_from=max(asked.from_s, complete_from),
        markers=dict(markers),
    )
