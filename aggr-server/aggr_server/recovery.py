"""What was missed, by REST: whole seconds rebuilt from the venue's own record of trades."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from logging import getLogger

from aggr_server import clock
from aggr_server.exchanges.base import UNREADABLE, Adapter, Window
from aggr_server.gaps import GapBook, Span
from aggr_server.log import kv
from aggr_server.markets import MarketState
from aggr_server.rest import Rest, RestFailed
from aggr_server.tape import Tape, TapeFailed
from aggr_server.throttle import Backoff, Occasionally

SETTLE_MS = 1500
"""Trades younger than this may not yet be told by REST."""

OVERLAP_S = 1
"""Seconds after a gap that are asked for as well: were they received whole, REST must know them."""

OPEN_SETTLE_S = 10
OPEN_LEAST_S = 20
"""While a stream is down its trades are fetched too, with more caution and in longer pieces."""

BEYOND_S = 10
BEYOND_AT_MOST_S = 60
"""Where nothing after a gap was received whole, REST must know a trade of the 10 s after it, until
a minute has passed."""

CHUNK_S = 300
AT_ONCE = 2
PROBE_S = 60
PROBE_MAX_S = 3600
PROBE_PAGES = 3
RECENT_S = 30

Forced = Callable[[MarketState, int, int], Awaitable[dict[int, tuple[float, float]]]]
"""Notional of forced buys and sells by second, as far as it is known, of [from_s, to_s).

Raises `ForcedUnknown` while it cannot be told.
"""

_log = getLogger(__name__)


class ForcedUnknown(Exception):
    """Forced orders of a time cannot be looked up at present."""


class Recovery:
    """Fetches what one venue's markets have missed. `run` works for ever.

    `markets`: those followed, by name. `recover_s`: how far back; what is older stays recorded as
    a gap. Attempts that fail are repeated, with growing pauses, until then.
    """

    def __init__(
        self,
        adapter: Adapter,
        rest: Rest,
        book: GapBook,
        markets: Mapping[str, MarketState],
        *,
        recover_s: int,
        interval_s: int = 1,
        grace_ms: int = 200,
        forced: Forced | None = None,
    ) -> None:
        self.failures = 0
        self.last_error = ""
        self._adapter = adapter
        self._rest = rest
        self._book = book
        self._markets = markets
        self._recover_s = recover_s
        self._interval_s = interval_s
        self._settle_ms = max(SETTLE_MS, grace_ms + 500)
        self._forced = forced or _received
        self._at_work: set[str] = set()
        self._news = asyncio.Event()
        self._pauses: dict[str, tuple[float, Backoff]] = {}
        self._complain = Occasionally(60.0)

    async def run(self) -> None:
        """Fetch for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    def look(self) -> None:
        """Time has passed: there may be something to fetch. Call about once a second."""
        self._news.set()

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        """Exchange time of the newest trade the venue tells since the last one received.

        0 if it tells none; None if it cannot be asked or does not answer.
        """
        now = clock.now_ms()
        oldest = now - (PROBE_MAX_S if market.last_trade_ms else PROBE_S) * 1000
        window = Window(min(max(oldest, market.last_trade_ms + 1), now), now + 60_000)
        request = self._adapter.past(market.instrument, window)
        if request is None:
            return None
        newest = 0
        try:
            for _ in range(PROBE_PAGES):
                body = await self._rest.ask(request, probe=True)
                past = self._adapter.read_past(market.instrument, window, body)
                newest = max((trade.ts_ms for trade in past.trades), default=newest)
                if newest or past.next is None:
                    break
                request = past.next
        except (RestFailed, *UNREADABLE) as error:
            self._note(market, error)
            return None
        return newest

    async def _work(self) -> None:
        while True:
            found = self._next()
            if found is None:
                self._news.clear()
                await self._news.wait()
                continue
            market, span = found
            self._at_work.add(market.name)
            try:
                await self._recover(market, span)
            except (RestFailed, TapeFailed, ForcedUnknown) as error:
                self._note(market, error)
                self._pause(market, getattr(error, "retry_after_s", 0.0))
            else:
                self._pauses.pop(market.name, None)
            finally:
                self._at_work.discard(market.name)

    def _next(self) -> tuple[MarketState, Span] | None:
        """The gap to fetch next: recent ones first, among them those of busy markets."""
        ready_s = (clock.now_ms() - self._settle_ms) // 1000 - OVERLAP_S
        open_s = (ready_s - OPEN_SETTLE_S) // self._interval_s * self._interval_s
        best: tuple[tuple[int, int], MarketState, Span] | None = None
        for market in self._markets.values():
            if market.name in self._at_work or self._is_paused(market):
                continue
            for span in self._book.pending(market.name, open_s):
                if span.to_s > ready_s or (span.open and not self._is_worthwhile(market, span)):
                    continue
                rank = (span.to_s // RECENT_S, market.trades)
                if best is None or rank > best[0]:
                    best = rank, market, span
                break
        return (best[1], best[2]) if best else None

    def _is_worthwhile(self, market: MarketState, span: Span) -> bool:
        """Whether to fetch a part of a gap that goes on."""
        from_s = max(span.from_s, clock.now_ms() // 1000 - self._recover_s)
        window = Window(from_s * 1000, span.to_s * 1000)
        return (
            span.to_s - from_s >= OPEN_LEAST_S
            and self._adapter.past(market.instrument, window) is not None
        )

    def _is_paused(self, market: MarketState) -> bool:
        paused = self._pauses.get(market.name)
        return paused is not None and paused[0] > clock.monotonic()

    async def _recover(self, market: MarketState, span: Span) -> None:
        from_s, to_s = span.from_s, span.to_s
        oldest_s = clock.now_ms() // 1000 - self._recover_s
        if oldest_s > from_s:
            if not span.open:
                self._book.give_up(market.name, "trades", min(oldest_s, to_s))
            from_s = -(-oldest_s // self._interval_s) * self._interval_s
        whole = False
        while from_s < to_s:
            chunk_s = max(CHUNK_S // self._interval_s, 1) * self._interval_s
            part_s = from_s if whole else max(from_s, to_s - chunk_s)
            tape = self._tape(market, part_s, to_s)
            if tape is None:
                self._book.give_up(market.name, "trades", to_s)
                return
            since_s = await tape.take()
            if since_s > part_s and part_s == from_s:
                # The venue only tells the newest trades: what is missing now is gone for good.
                self._book.give_up(market.name, "trades", min(since_s, to_s))
                break
            whole = tape.walks_back
            to_s = max(part_s, since_s)
        if span.to_s - span.from_s > CHUNK_S:
            _log.info(
                "missed trades fetched %s",
                kv(market=market.name, from_s=from_s, seconds=span.to_s - from_s),
            )

    def _tape(self, market: MarketState, from_s: int, to_s: int) -> Tape | None:
        overlap_s = self._overlap(market, to_s)
        old = clock.now_ms() // 1000 - to_s >= BEYOND_AT_MOST_S
        beyond_s = 0 if overlap_s or old else BEYOND_S
        window = Window(from_s * 1000, (to_s + overlap_s + beyond_s) * 1000)
        first = self._adapter.past(market.instrument, window)
        if first is None:
            return None
        return Tape(
            self._adapter,
            self._rest,
            market,
            self._forced,
            self._book,
            window,
            first,
            interval_s=self._interval_s,
            overlap_s=overlap_s,
            beyond_s=beyond_s,
        )

    def _overlap(self, market: MarketState, to_s: int) -> int:
        """How much after `to_s` to compare: what is old enough and was received whole.

        Where nothing was received there is nothing to compare.
        """
        length_s = -(-OVERLAP_S // self._interval_s) * self._interval_s
        if (to_s + length_s) * 1000 + self._settle_ms > clock.now_ms():
            return 0
        if self._book.touches(market.name, to_s, to_s + length_s):
            return 0
        known = market.series.builder.known(market.series, to_s, to_s + length_s)
        return length_s if any(sums.first_ms for _, sums in known) else 0

    def _pause(self, market: MarketState, least_s: float) -> None:
        _, backoff = self._pauses.get(market.name) or (0.0, Backoff(base_s=4.0, cap_s=300.0))
        delay_s = max(least_s, 1.0 + backoff.next())
        self._pauses[market.name] = (clock.monotonic() + delay_s, backoff)

    def _note(self, market: MarketState, error: Exception) -> None:
        self.failures += 1
        self.last_error = str(error)
        if self._complain():
            _log.warning("missed trades not fetched yet %s", kv(market=market.name, error=error))


async def _received(market: MarketState, from_s: int, to_s: int) -> dict[int, tuple[float, float]]:
    return market.series.forced(from_s, to_s)
