"""Trades to bars: exact, by exchange time, amended by late trades. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from aggr_server.sums import Kept, Sums, keep, recall, restored
from aggr_server.wire import Bar

FUTURE_S = 60
"""A trade dated further ahead of the clock than this is refused: its time is wrong."""

AMENDED_AT_ONCE = 5000
"""Bars of earlier periods that leave with one closed period; the others leave with later ones."""

REPORTED_TOO_LATE = 10_000


class Closed(msgspec.Struct):
    """One closed period. `amended`: whole bars of earlier ones that changed since."""

    second: int
    bars: list[Bar]
    amended: list[Bar]
    last_trade_ms: int | None


class Fill(NamedTuple):
    """A trade as bars count it; `notional` in quote. Fills sort by exchange time, then order."""

    ts_ms: int
    order: int
    price: float
    notional: float
    is_buy: bool


class Series:
    """The bars of one market; made by `BarBuilder.series`.

    Trades may come in any order. Open and close belong to the first and the last trade by exchange
    time, then by the venue's own order, then by arrival.
    """

    __slots__ = (
        "_last_ms",
        "builder",
        "current",
        "first_s",
        "from_ms",
        "last_price",
        "market",
        "to_ms",
    )

    def __init__(self, market: str, builder: BarBuilder) -> None:
        self.market = market
        self.first_s = 0
        """Periods before this one are not built from what arrives: too little of them was seen."""
        self.last_price = 0.0
        """Price of the last closed trade; 0 if there was none."""
        self.builder = builder
        self.from_ms = self.to_ms = 0
        self.current = Sums()
        """The open period of [`from_ms`, `to_ms`): its trades may be added without asking."""
        self._last_ms = 0

    def trade(
        self, ts_ms: int, price: float, notional: float, is_buy: bool, order: int = 0
    ) -> bool:
        """Count a trade; False if `at` refuses it."""
        sums = self.current if self.from_ms <= ts_ms < self.to_ms else self.at(ts_ms)
        if sums is not None:
            sums.add(ts_ms, order, price, notional, is_buy)
        return sums is not None

    def liquidation(self, ts_ms: int, price: float, notional: float, is_buy: bool) -> bool:
        """Count a forced order; it moves neither prices nor volumes. False if `at` refuses it.

        `price` serves only a market that has never traded since it is followed.
        """
        sums = self.at(ts_ms)
        if sums is None:
            return False
        if is_buy:
            sums.lbuy += notional
        else:
            sums.lsell += notional
        if self.last_price == 0.0:
            self.last_price = price
        return True

    def forced(self, from_s: int, to_s: int) -> dict[int, tuple[float, float]]:
        """What is known of forced orders in [from_s, to_s): period -> `lbuy`, `lsell`."""
        found = {}
        for second, sums in self.builder.known(self, from_s, to_s):
            if sums.lbuy or sums.lsell:
                found[second] = (sums.lbuy, sums.lsell)
        return found

    def too_old(self, ts_ms: int) -> None:
        """Something of that time cannot be counted: nobody knows whether it was before."""
        second = self.builder.period(ts_ms)
        if second < self.first_s:
            self.builder.early += 1
        else:
            self.builder.miss(self, second)

    def at(self, ts_ms: int) -> Sums | None:
        """Where a trade of that time is to be added.

        None, and counted, if that is too old, too far ahead, or before `first_s`.
        """
        builder = self.builder
        second = builder.period(ts_ms)
        if second < self.first_s:
            builder.early += 1
            return None
        sums = builder.sums(self, second)
        if sums is not None and second >= builder.next_s:
            self.current = sums
            self.from_ms, self.to_ms = second * 1000, (second + builder.interval_s) * 1000
        return sums

    def close(self, second: int, sums: Sums) -> Bar:
        """The bar of a period that has closed, or was amended: its trades are late ones now.

        A period with nothing but forced orders stands at the last price known when it closed.
        """
        if self.current is sums:
            self.from_ms = self.to_ms = 0
        if sums.last_ms > self._last_ms:
            self._last_ms = sums.last_ms
            self.last_price = sums.close
        elif sums.close == 0.0:
            sums.stand_at(self.last_price)
        return sums.bar(second, self.market)


class BarBuilder:
    """Builds the bars of all markets, and closes them when told what time it is.

    `interval_s`: length of a bar; `grace_ms`: time given to trades after the end of a bar;
    `keep_s`: how long a closed bar can still be amended by a late trade.
    """

    def __init__(self, *, interval_s: int = 1, grace_ms: int = 200, keep_s: int = 300) -> None:
        self.interval_s = interval_s
        self.next_s = 0
        """The period that will be closed next; 0 until `advance` was called."""
        self.late = 0
        self.too_late = 0
        self.early = 0
        self.ahead = 0
        self._grace_ms = grace_ms
        self._keep_s = keep_s
        self._open: dict[int, dict[Series, Sums]] = {}
        self._closed: dict[int, dict[str, Kept]] = {}
        self._amended: dict[int, dict[Series, Sums]] = {}
        self._older: deque[Bar] = deque()
        self._missed: dict[tuple[str, int], None] = {}
        self._prices: dict[str, float] = {}

    def series(self, market: str) -> Series:
        """A new market."""
        series = Series(market, self)
        series.last_price = self._prices.pop(market, 0.0)
        return series

    @property
    def kept_from_s(self) -> int:
        """The oldest period that late trades still amend."""
        return self.next_s - self._keep_s

    @property
    def pending(self) -> int:
        """Changed bars of earlier periods that have not left yet."""
        return len(self._older) + sum(len(markets) for markets in self._amended.values())

    def period(self, ts_ms: int) -> int:
        """The period a time belongs to."""
        return ts_ms // 1000 // self.interval_s * self.interval_s

    def take_too_late(self) -> list[tuple[str, int]]:
        """Markets and periods whose bars lack trades that came too late to be counted."""
        missed, self._missed = self._missed, {}
        return list(missed)

    def miss(self, series: Series, second: int) -> None:
        """A trade of that period could not be counted any more."""
        self.too_late += 1
        if len(self._missed) < REPORTED_TOO_LATE:
            self._missed[series.market, second] = None

    def sums(self, series: Series, second: int) -> Sums | None:
        """Where trades of that period are summed up; None, and counted, if they come too late."""
        if self.next_s:
            if second < self.next_s:
                if second < self.kept_from_s:
                    self.miss(series, second)
                    return None
                self.late += 1
                return self._amend(series, second)
            if second > self.next_s + FUTURE_S:
                self.ahead += 1
                return None
        markets = self._open.setdefault(second, {})
        sums = markets.get(series)
        if sums is None:
            sums = markets[series] = Sums()
        return sums

    def advance(self, now_ms: int) -> list[Closed]:
        """Close every period that ended at least the grace period before `now_ms`, in order.

        A clock that goes back closes nothing until it has caught up.
        """
        end = (now_ms - self._grace_ms) // 1000 // self.interval_s * self.interval_s
        if not self.next_s:
            self.next_s = end
        closed = []
        while self.next_s < end:
            closed.append(self._close(self.next_s))
        if closed:
            closed[-1].amended = self._take_amended()
        return closed

    def rebuild(
        self,
        series: Series,
        fills: Sequence[Fill],
        from_s: int,
        to_s: int,
        forced: Mapping[int, tuple[float, float]] | None = None,
    ) -> set[int]:
        """Replace the trades of the closed periods of [from_s, to_s) by `fills`.

        `fills`: all trades of that time, sorted. Forced orders stay as they are known, or become
        those in `forced` (period -> `lbuy`, `lsell`) if they are more. Returns the periods that
        stay as they were: more had been received than is in `fills`, or they are still open.
        """
        built = _summed(fills, self.interval_s)
        known = dict(self.known(series, from_s, min(to_s, self.next_s)))
        left: set[int] = set()
        price = 0.0
        for second in range(self.period(from_s * 1000), to_s, self.interval_s):
            new, old = built.get(second) or Sums(), known.get(second)
            if second >= self.next_s or (old is not None and not new.covers(old)):
                left.add(second)
                continue
            new.force((old.lbuy, old.lsell) if old else (0.0, 0.0))
            new.force((forced or {}).get(second, (0.0, 0.0)))
            if not new.first_ms:
                new.stand_at(old.close if old and old.close else price or series.last_price)
            price = new.close
            if (
                price == 0.0
                or new.is_empty
                or (old and new.bar(second, series.market) == old.bar(second, series.market))
            ):
                continue
            self._replace(series, second, new)
        return left

    def restore(self, bars: Iterable[Bar]) -> None:
        """Take over bars of before a restart; of the same period the last one counts.

        To be called first, before any `series` is made.
        """
        newest: dict[str, Bar] = {}
        for bar in bars:
            self._closed.setdefault(bar.time, {})[bar.market] = restored(bar, self.interval_s)
            if bar.market not in newest or bar.time >= newest[bar.market].time:
                newest[bar.market] = bar
        self._prices.update((market, bar.close) for market, bar in newest.items())
        self._closed = dict(sorted(self._closed.items()))

    def recent(self, from_s: int, to_s: int, markets: Iterable[str] | None = None) -> Iterator[Bar]:
        """Closed bars of [from_s, to_s) that are still kept, oldest first."""
        wanted = None if markets is None else set(markets)
        for second in sorted(self._closed):
            if from_s <= second < to_s:
                for market, kept in self._closed[second].items():
                    if wanted is None or market in wanted:
                        yield recall(kept).bar(second, market)

    def known(self, series: Series, from_s: int, to_s: int) -> Iterator[tuple[int, Sums]]:
        """What is known of the periods of [from_s, to_s) that are open or kept, in any order."""
        oldest_s = min((*self._closed, *self._amended), default=to_s)
        first_s = self.period(max(from_s, oldest_s) * 1000)
        for second in range(first_s, min(to_s, self.next_s), self.interval_s):
            if sums := self._amended.get(second, {}).get(series):
                yield second, sums
            elif (kept := self._closed.get(second, {}).get(series.market)) is not None:
                yield second, recall(kept)
        for second, markets in self._open.items():
            if from_s <= second < to_s and series in markets:
                yield second, markets[series]

    def _amend(self, series: Series, second: int) -> Sums:
        markets = self._amended.setdefault(second, {})
        sums = markets.get(series)
        if sums is None:
            kept = self._closed.get(second, {}).get(series.market)
            sums = markets[series] = Sums() if kept is None else recall(kept)
        return sums

    def _replace(self, series: Series, second: int, sums: Sums) -> None:
        if second >= self.kept_from_s:
            self._amended.setdefault(second, {})[series] = sums
        else:
            self._older.append(series.close(second, sums))

    def _close(self, second: int) -> Closed:
        bars: list[Bar] = []
        last_ms: int | None = None
        kept: dict[str, Kept] = {}
        for series, sums in self._open.pop(second, {}).items():
            bars.append(series.close(second, sums))
            kept[series.market] = keep(sums)
            if sums.last_ms and (last_ms is None or sums.last_ms > last_ms):
                last_ms = sums.last_ms
        if kept:
            self._closed[second] = kept
        self.next_s = second + self.interval_s
        self._expire()
        return Closed(second, bars, [], last_ms)

    def _take_amended(self) -> list[Bar]:
        for second in sorted(self._amended):
            self._settle(second)
        count = min(AMENDED_AT_ONCE, len(self._older))
        return [self._older.popleft() for _ in range(count)]

    def _settle(self, second: int) -> None:
        """Bars that were amended leave next, and are kept as they are now."""
        kept = self._closed.setdefault(second, {})
        for series, sums in self._amended.pop(second, {}).items():
            self._older.append(series.close(second, sums))
            kept[series.market] = keep(sums)

    def _expire(self) -> None:
        oldest_s = self.kept_from_s
        for second in [s for s in self._amended if s < oldest_s]:
            self._settle(second)
        # Periods are nearly always kept in order, so the first ones are the oldest.
        while self._closed and (first := next(iter(self._closed))) < oldest_s:
            del self._closed[first]


def _summed(fills: Sequence[Fill], interval_s: int) -> dict[int, Sums]:
    built: dict[int, Sums] = {}
    for fill in fills:
        second = fill.ts_ms // 1000 // interval_s * interval_s
        sums = built.get(second)
        if sums is None:
            sums = built[second] = Sums()
        sums.add(fill.ts_ms, fill.order, fill.price, fill.notional, fill.is_buy)
    return built
