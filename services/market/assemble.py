"""Puts what the collectors report into the order of seconds. No input or output, no clock."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aggr_server.wire import FORCED_ORDERS_ONLY, Bar, ClosedSecond, Gap
from services.market.bars import ClosedBars, Late

SETTLE_MS = 500
"""How long after its end a second waits for collectors: their grace of 200 ms and 300 ms more."""

KEEP_S = 900
"""Seconds handed out for which a changed bar can still be compared with what it was."""

REBUILD_S = 10
"""A gap that has been filled is worth reading the past anew from this length on."""

FORGET_AFTER_S = 10
"""A collector silent for longer is not waited for."""

MAX_PENDING_S = 3600
_MOST_GAPS = 256
"""Records kept for one market; the oldest is dropped first."""


class Span(NamedTuple):
    """Seconds [from_s, to_s) to be read back from the database."""

    from_s: int
    to_s: int


@dataclass(slots=True)
class _Collector:
    epoch: str
    seq: int
    second: int


class _Done:
    """Volumes of a second that has been handed out, as few bytes as can be."""

    __slots__ = ("markets", "volumes")

    def __init__(self, bars: Mapping[str, Mapping[str, Bar]], before: _Done | None) -> None:
        markets: list[str] = []
        volumes: list[float] = []
        for of_base in bars.values():
            markets += of_base
            for bar in of_base.values():
                volumes += (bar.vbuy, bar.vsell)
        # Mostly the same markets trade in one second after another.
        if before is not None and before.markets == markets:
            markets = before.markets
        self.markets: list[str] = markets
        self.volumes = array("d", volumes)

    def __bool__(self) -> bool:
        return bool(self.markets)

    def take(self, bar: Bar) -> tuple[float, float]:
        """The volumes that were known, which are replaced by the bar's."""
        try:
            i = 2 * self.markets.index(bar.market)
        except ValueError:
            self.markets = [*self.markets, bar.market]
            self.volumes.extend((bar.vbuy, bar.vsell))
            return 0.0, 0.0
        known = self.volumes[i], self.volumes[i + 1]
        self.volumes[i], self.volumes[i + 1] = bar.vbuy, bar.vsell
        return known


@dataclass(slots=True)
class _Pending:
    bars: dict[str, dict[str, Bar]] = field(default_factory=dict)
    published_ms: int = 0


class Assembler:
    """Seconds are handed out once each, in order, none left out.

    Bars are whole: giving one again changes nothing, giving a changed one for a second that has
    been handed out adds the difference in volume to the next second. So the sum over all seconds
    equals the sum over all bars whatever the order they came in, up to `KEEP_S` late.
    """

    def __init__(self, base_of: Callable[[str], str | None], *, settle_ms: int = SETTLE_MS) -> None:
        self._base_of = base_of
        self._settle_ms = settle_ms
        self._collectors: dict[str, _Collector] = {}
        self._home: dict[str, str] = {}
        self._gaps: dict[str, dict[tuple[str, int], Gap]] = {}
        self._pending: dict[int, _Pending] = {}
        self._done: dict[int, _Done] = {}
        self._late: dict[str, dict[str, Late]] = {}
        self._late_ms = 0
        self.next_t: int | None = None
        self.outdated: set[str] = set()
        """Bases of which seconds that were handed out have become better known since: the sum is
        right, up to `KEEP_S` late, but not the time at which it came."""
        self.late_bars = 0
        self.lost_bars = 0

    def start_at(self, second: int) -> None:
        """Hand out `second` first; what is known of earlier ones is dropped."""
        self.next_t = second
        for t in [t for t in self._pending if t < second]:
            del self._pending[t]

    def offer(self, message: ClosedSecond) -> Span | None:
        """Take a message; the seconds before it that its collector sent and we have not got."""
        missed = self._follow(message)
        if self.next_t is None:
            self.next_t = message.second
        for bar in message.bars:
            self._home[bar.market] = message.collector
        for gap in message.gaps:
            self.add_gap(gap)
        self.merge(message.amended, message.published_ms)
        if message.second >= self.next_t:
            pending = self._at(message.second)
            pending.published_ms = max(pending.published_ms, message.published_ms)
        self.merge(message.bars, message.published_ms)
        return missed

    def merge(self, bars: Iterable[Bar], published_ms: int = 0) -> None:
        """Take whole bars of any second."""
        base_of, next_t = self._base_of, self.next_t
        second, into = -1, _Pending().bars
        for bar in bars:
            base = base_of(bar.market)
            if base is None:
                continue
            if next_t is not None and bar.time < next_t:
                self._amend(bar, base, published_ms)
                continue
            if bar.time != second:
                second, into = bar.time, self._at(bar.time).bars
            markets = into.get(base)
            if markets is None:
                markets = into[base] = {}
            markets[bar.market] = bar

    def add_gap(self, gap: Gap) -> None:
        """Remember that a market is not fully known for a while.

        A record replaces an earlier one of the same beginning; it may have become shorter, or
        empty, because what was missed has been fetched.
        """
        if gap.reason == FORCED_ORDERS_ONLY:
            return
        gaps = self._gaps.setdefault(gap.market, {})
        known = gaps.get((gap.reason, gap.from_s))
        if known is not None and self.next_t is not None:
            filled_s = min(known.to_s, self.next_t) - max(gap.to_s, gap.from_s)
            base = self._base_of(gap.market) if filled_s >= REBUILD_S else None
            if base is not None:
                self.outdated.add(base)
        gaps[gap.reason, gap.from_s] = gap
        while len(gaps) > _MOST_GAPS:
            del gaps[next(iter(gaps))]

    def take(self, now_ms: int, *, complete_to: int = 0, limit: int = 100) -> list[ClosedBars]:
        """The next seconds that are due, at most `limit`, oldest first.

        Due: reported by every collector, or `settle_ms` past its end, or before `complete_to`.
        """
        ready: list[ClosedBars] = []
        while self.next_t is not None and len(ready) < limit:
            if not self._due(self.next_t, now_ms, complete_to):
                break
            ready.append(self._hand_out(self.next_t, complete_to))
        return ready

    def due_ms(self) -> int | None:
        """When the next second is handed out even if no collector reports it."""
        return None if self.next_t is None else (self.next_t + 1) * 1000 + self._settle_ms

    @property
    def newest(self) -> int:
        """The newest second any collector has reported, 0 if none has."""
        return max((c.second for c in self._collectors.values()), default=0)

    def _follow(self, message: ClosedSecond) -> Span | None:
        known = self._collectors.get(message.collector)
        self._collectors[message.collector] = _Collector(message.epoch, message.seq, message.second)
        if known is None:
            return None
        same = known.epoch == message.epoch
        if same and message.seq <= known.seq:
            known.second = max(known.second, message.second)
            self._collectors[message.collector] = known
            return None
        if same and message.seq == known.seq + 1:
            return None
        if message.second <= known.second + 1 and not same:
            return None
        return Span(known.second, message.second)

    def _due(self, t: int, now_ms: int, complete_to: int) -> bool:
        if t < complete_to:
            return True
        if now_ms >= (t + 1) * 1000 + self._settle_ms:
            return True
        active = [c for c in self._collectors.values() if c.second >= t - FORGET_AFTER_S]
        return bool(active) and all(c.second >= t for c in active)

    def _hand_out(self, t: int, complete_to: int) -> ClosedBars:
        pending = self._pending.pop(t, None) or _Pending()
        self._done[t] = _Done(pending.bars, self._done.get(t - 1))
        self._done.pop(t - KEEP_S, None)
        late, self._late = self._late, {}
        published = max(pending.published_ms, self._late_ms)
        self._late_ms = 0
        self.next_t = t + 1
        return ClosedBars(t, pending.bars, late, self._silent(t, complete_to), published)

    def _silent(self, t: int, complete_to: int) -> frozenset[str]:
        names = {
            m
            for m, gaps in self._gaps.items()
            if any(g.from_s <= t < g.to_s for g in gaps.values())
        }
        behind = {name for name, c in self._collectors.items() if c.second < t}
        if behind and (t >= complete_to or not self._done[t]):
            names.update(m for m, home in self._home.items() if home in behind)
        return frozenset(names)

    def _at(self, t: int) -> _Pending:
        pending = self._pending.get(t)
        if pending is None:
            pending = self._pending[t] = _Pending()
            if len(self._pending) > MAX_PENDING_S:
                del self._pending[min(self._pending)]
        return pending

    def _amend(self, bar: Bar, base: str, published_ms: int) -> None:
        done = self._done.get(bar.time)
        if done is None:
            self.lost_bars += 1
            self.outdated.add(base)
            return
        buy, sell = done.take(bar)
        if bar.vbuy == buy and bar.vsell == sell:
            return
        before = self._late.setdefault(base, {}).get(bar.market, Late(0.0, 0.0))
        self._late[base][bar.market] = Late(
            before.buy + bar.vbuy - buy, before.sell + bar.vsell - sell
        )
        self._late_ms = max(self._late_ms, published_ms)
        self.late_bars += 1
