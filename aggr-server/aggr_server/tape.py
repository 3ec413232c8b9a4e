"""A venue's record of trades for a stretch of time, page by page, into the bars."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aggr_server.exchanges.base import (
    UNREADABLE,
    Adapter,
    Liquidation,
    Past,
    Request,
    Trade,
    Window,
)
from aggr_server.gaps import GapBook
from aggr_server.markets import MarketState, sizes
from aggr_server.rest import Rest

MAX_PAGES = 5000
MAX_TRADES = 20_000
"""Trades kept in memory before the seconds known to be whole are rebuilt."""


class TapeFailed(Exception):
    """The record cannot be taken over now; another attempt may do better."""


class Tape:
    """The trades of `window`, asked for from `first` on.

    The last `overlap_s` seconds of the window were received whole: should the venue tell fewer
    trades of them, its record is behind, and nothing is taken over yet. The last `beyond_s` are
    asked for only to see that its record reaches beyond what is rebuilt.
    """

    def __init__(
        self,
        adapter: Adapter,
        rest: Rest,
        market: MarketState,
        forced: Callable[[MarketState, int, int], Awaitable[dict[int, tuple[float, float]]]],
        book: GapBook,
        window: Window,
        first: Request,
        *,
        interval_s: int = 1,
        overlap_s: int = 0,
        beyond_s: int = 0,
    ) -> None:
        self.walks_back = False
        """Whether the venue can only be followed from its newest trade back."""
        self._adapter = adapter
        self._rest = rest
        self._market = market
        self._look_up = forced
        self._book = book
        self._window = window
        self._first = first
        self._interval_s = interval_s
        self._overlap_s = overlap_s
        self._trades: list[Trade] = []
        self._forced: list[Liquidation] | None = None
        self._from_s = window.from_ms // 1000
        self._to_s = window.to_ms // 1000 - beyond_s
        self._reach_ms = self._to_s * 1000 if beyond_s else 0
        self._falling, self._rising = True, True
        self._oldest_ms, self._newest_ms = 0, 0
        self._left_over: list[tuple[int, int]] = []

    async def take(self) -> int:
        """Rebuild every second the venue still tells; the first one that it tells wholly.

        Raises `RestFailed`, `TapeFailed`; what was rebuilt by then stays.
        """
        request: Request | None = self._first
        since_ms = pages = 0
        while request:
            past = await self._ask(request)
            since_ms = max(since_ms, past.since_ms)
            self._order(past)
            if pages == 0:
                self._look_at_first(past)
            self._keep(past)
            request, pages = past.next, pages + 1
            if len(self._trades) > MAX_TRADES:
                await self._rebuild_whole()
            if request and pages >= MAX_PAGES:
                raise TapeFailed(f"{self._adapter.name}: no end after {pages} answers")
        since_s = -(-since_ms // (self._interval_s * 1000)) * self._interval_s
        since_s = min(max(since_s, self._from_s), self._to_s)
        if since_s > self._window.from_ms // 1000:
            self.walks_back = True
        await self._rebuild(since_s, self._to_s)
        if self._left_over:
            seconds = sum(to_s - from_s for from_s, to_s in self._left_over)
            raise TapeFailed(f"{self._market.name}: REST tells less than was received: {seconds} s")
        return since_s

    async def _ask(self, request: Request) -> Past:
        body = await self._rest.ask(request)
        try:
            return self._adapter.read_past(self._market.instrument, self._window, body)
        except UNREADABLE as error:
            raise TapeFailed(f"{request.url}: answer not understood: {error}") from error

    def _order(self, past: Past) -> None:
        if not past.trades:
            return
        oldest = min(trade.ts_ms for trade in past.trades)
        newest = max(trade.ts_ms for trade in past.trades)
        if self._oldest_ms:
            self._falling = self._falling and newest <= self._oldest_ms
            self._rising = self._rising and oldest >= self._newest_ms
        self._oldest_ms, self._newest_ms = oldest, newest

    def _look_at_first(self, past: Past) -> None:
        self.walks_back = bool(past.trades) and self._oldest_ms >= self._window.to_ms

    def _keep(self, past: Past) -> None:
        from_ms, to_ms = self._from_s * 1000, self._to_s * 1000
        if any(trade.ts_ms >= self._reach_ms for trade in past.trades):
            self._reach_ms = 0
        self._trades += [t for t in past.trades if from_ms <= t.ts_ms < to_ms]
        if past.liquidations is not None:
            kept = [e for e in past.liquidations if from_ms <= e.ts_ms < to_ms]
            self._forced = (self._forced or []) + kept

    async def _rebuild_whole(self) -> None:
        """Of pages that go back in time: rebuild what no further page can tell anything of."""
        length_ms = self._interval_s * 1000
        if self._rising or not self._falling:
            return
        # The second of the oldest trade may go on in the next page.
        cut_s = (self._oldest_ms // length_ms + 1) * self._interval_s
        if not self._from_s < cut_s < self._to_s:
            return
        await self._rebuild(cut_s, self._to_s)
        self._to_s = cut_s
        self._trades = [t for t in self._trades if t.ts_ms < cut_s * 1000]
        if self._forced is not None:
            self._forced = [e for e in self._forced if e.ts_ms < cut_s * 1000]

    async def _rebuild(self, from_s: int, to_s: int) -> None:
        if from_s >= to_s:
            return
        if self._reach_ms:
            raise TapeFailed(f"{self._market.name}: REST is behind the end of the gap")
        forced = await self._forced_orders(from_s, to_s)
        whole_s = self._window.to_ms // 1000 - self._overlap_s
        if self._overlap_s and to_s > whole_s:
            if not self._take_over(max(whole_s, from_s), to_s, forced):
                raise TapeFailed(f"{self._market.name}: REST is behind what was received")
            to_s = whole_s
            self._overlap_s = 0
        self._halve(from_s, to_s, forced)

    def _halve(self, from_s: int, to_s: int, forced: dict[int, tuple[float, float]]) -> None:
        """Take over [from_s, to_s), and of what is refused the halves, down to single periods."""
        if from_s >= to_s:
            return
        if self._take_over(from_s, to_s, forced):
            self._book.fetched(self._market.name, "trades", from_s, to_s)
            if self._forced is not None:
                self._book.fetched(self._market.name, "liquidations", from_s, to_s)
            return
        periods = (to_s - from_s) // self._interval_s
        if periods <= 1:
            self._left_over.append((from_s, to_s))
            return
        middle_s = from_s + periods // 2 * self._interval_s
        self._halve(from_s, middle_s, forced)
        self._halve(middle_s, to_s, forced)

    def _take_over(self, from_s: int, to_s: int, forced: dict[int, tuple[float, float]]) -> bool:
        trades = [t for t in self._trades if from_s * 1000 <= t.ts_ms < to_s * 1000]
        part = {s: sums for s, sums in forced.items() if from_s <= s < to_s}
        return self._market.rebuild(trades, from_s, to_s, part)

    async def _forced_orders(self, from_s: int, to_s: int) -> dict[int, tuple[float, float]]:
        if self._forced is None:
            return await self._look_up(self._market, from_s, to_s)
        sums: dict[int, tuple[float, float]] = {}
        for event in self._forced:
            found = sizes(self._market.instrument, event.price, event.size)
            second = event.ts_ms // 1000 // self._interval_s * self._interval_s
            if found and from_s <= second < to_s:
                buy, sell = sums.get(second, (0.0, 0.0))
                sums[second] = (buy + found[1], sell) if event.is_buy else (buy, sell + found[1])
        return sums
