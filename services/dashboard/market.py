"""The blocks that follow from the bars: seconds, volume by venue, the list of symbols."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping

from services.core.views import View
from services.dashboard.audience import Audience
from services.dashboard.hub import Hub
from services.dashboard.protocol import Board, BoardRow, Flow, Revised, Second, Strategy, Venues
from services.dashboard.ring import SHOWN_S
from services.dashboard.symbol import SymbolBars

TICK_S = 1.0
GATHER_S = 0.03
"""Messages of several collectors come within this time; they make one message to the browsers."""

MOST_SECONDS = 120
"""Of more changed seconds than this at once the browser reads the history anew."""

VENUES_EVERY_S = 2.0


class MarketBlocks:
    """Tells the audience what has changed. `views`: symbol -> the strategy's newest, if any."""

    def __init__(
        self,
        audience: Audience,
        hub: Hub,
        views: Callable[[], Mapping[str, tuple[View, int]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._hub = hub
        self._views = views
        self._now_ms = now_ms
        self._news = asyncio.Event()
        self._revised: dict[str, int] = {}
        self._names = {symbol.base: name for name, symbol in hub.symbols.items()}
        self._venues_due: dict[str, float] = {}
        self._venues_old: set[str] = set()
        hub.on_change = self._changed

    async def run(self) -> None:
        """Tell until cancelled; what happens while nobody looks is not told."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._audience.present.is_set():
                await self._audience.present.wait()
                self._forget()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            self._tell(loop.time())

    def wake(self) -> None:
        """Something has changed."""
        self._news.set()

    def watched(self, symbol: str) -> None:
        """Somebody begins to watch it, and does not wait for the next second."""
        bars = self._hub.symbols[symbol]
        if bars.ring.end:
            bars.changed.add(bars.ring.end - 1)
        self._venues_due.pop(symbol, None)
        self._venues_old.add(symbol)
        self._news.set()

    def _changed(self, symbol: SymbolBars, spans: list[tuple[int, int]]) -> None:
        if not self._audience.present.is_set():
            symbol.changed.clear()
            return
        count = sum(to_s - from_s for from_s, to_s in spans)
        if count > MOST_SECONDS:
            name = self._names[symbol.base]
            from_s = spans[0][0]
            self._revised[name] = min(from_s, self._revised.get(name, from_s))
        else:
            symbol.changed.update(t for from_s, to_s in spans for t in range(from_s, to_s))
        self._news.set()

    def _forget(self) -> None:
        self._revised.clear()
        self._venues_due.clear()
        for symbol in self._hub.symbols.values():
            symbol.changed.clear()

    def _tell(self, now_s: float) -> None:
        now_ms, watched, views = self._now_ms(), self._audience.symbols, self._views()
        rows = [row_of(name, s, views.get(name), now_ms) for name, s in self._hub.symbols.items()]
        self._audience.show(Board(ts_ms=now_ms, rows=rows))
        for name, symbol in self._hub.symbols.items():
            changed, symbol.changed = sorted(symbol.changed), set()
            from_t = self._revised.pop(name, None)
            if name not in watched:
                continue
            if from_t is not None or len(changed) > MOST_SECONDS:
                from_t = min([*changed[:1], *([] if from_t is None else [from_t])])
                self._audience.tell(Revised(symbol=name, ts_ms=now_ms, from_t=from_t))
            else:
                for t in changed:
                    if symbol.ring.start <= t < symbol.ring.end:
                        self._audience.tell(second_of(name, symbol, t, now_ms))
            if changed or from_t is not None:
                self._venues_old.add(name)
            if name in self._venues_old and now_s >= self._venues_due.get(name, 0.0):
                self._venues_old.discard(name)
                self._venues_due[name] = now_s + VENUES_EVERY_S
                self._audience.show(venues_of(name, symbol, now_ms))
            view, ts_ms = views.get(name, (None, now_ms))
            self._audience.show(Strategy(symbol=name, ts_ms=ts_ms, view=view))


def second_of(name: str, symbol: SymbolBars, t: int, now_ms: int) -> Second:
    """Second `t` of a symbol, which must be in its ring; flows rounded to cents."""
    values: list[float] = symbol.ring.at(t).tolist()
    bar = None if math.isnan(values[3]) else (values[0], values[1], values[2], values[3])
    spot, perp, spot_volume, perp_volume, lbuy, lsell = (round(v, 2) for v in values[4:])
    return Second(
        symbol=name,
        t=t,
        ts_ms=now_ms,
        bar=bar,
        spot=spot,
        perp=perp,
        spot_volume=spot_volume,
        perp_volume=perp_volume,
        lbuy=lbuy,
        lsell=lsell,
    )


def venues_of(name: str, symbol: SymbolBars, now_ms: int) -> Venues:
    """Volume by venue of a symbol, rounded to cents."""
    flows: dict[str, list[Flow]] = {}
    since: dict[str, int] = {}
    for length, (first, rows) in symbol.venues.windows().items():
        flows[str(length)] = [
            Flow(venue[0], venue[1], round(buy, 2), round(sell, 2)) for venue, buy, sell in rows
        ]
        since[str(length)] = max(first, symbol.complete_from or 0)
    newest = symbol.venues.end - 1
    return Venues(symbol=name, ts_ms=now_ms, t=newest, flows=flows, since=since)


def row_of(name: str, symbol: SymbolBars, seen: tuple[View, int] | None, now_ms: int) -> BoardRow:
    """A symbol's line."""
    ring = symbol.ring
    newest = ring.close_at(ring.end - 1) if ring.end else None
    before = None
    if newest is not None and ring.end - 1 - SHOWN_S >= (symbol.complete_from or ring.end):
        before = ring.close_at(ring.end - 1 - SHOWN_S)
    view, ts_ms = seen if seen else (None, 0)
    return BoardRow(
        symbol=name,
        price=None if newest is None else newest[0],
        price_t=None if newest is None else newest[1],
        change_4h=None if newest is None or before is None else newest[0] / before[0] - 1.0,
        state="" if view is None else view.state,
        direction=0 if view is None else view.direction,
        score=None if view is None else view.score,
        since_t=None if view is None else view.since_t,
        age_ms=None if view is None else now_ms - ts_ms,
    )
