"""Trades to bars: exact, by exchange time, amended by late trades. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from aggr_server.wire import Bar

FUTURE_S = 60
"""A trade dated further ahead of the clock than this is refused: its time is wrong."""


class Closed(msgspec.Struct):
    """One closed period. `amended`: whole bars of earlier ones that late trades changed."""

    second: int
    bars: list[Bar]
    amended: list[Bar]
    last_trade_ms: int | None


class _Sums(msgspec.Struct, gc=False):
    """What is known of one market's period. Prices are meaningless while `first_ms` is 0."""

    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    vbuy: float = 0.0
    vsell: float = 0.0
    cbuy: int = 0
    csell: int = 0
    lbuy: float = 0.0
    lsell: float = 0.0
    first_ms: int = 0
    first_order: int = 0
    last_ms: int = 0
    last_order: int = 0


class Series:
    """The bars of one market; made by `BarBuilder.series`.

    Trades may come in any order. Open and close belong to the first and the last trade by exchange
    time, then by the venue's own order, then by arrival.
    """

    __slots__ = (
        "_builder",
        "_current",
        "_interval_ms",
        "_last_ms",
        "_last_price",
        "_second",
        "first_s",
        "market",
    )

    def __init__(self, market: str, builder: BarBuilder) -> None:
        self.market = market
        self.first_s = 0
        """Periods before this one are not built: too little of them was seen."""
        self._builder = builder
        self._interval_ms = builder.interval_s * 1000
        self._second = -1
        self._current = _Sums()
        self._last_ms = 0
        self._last_price = 0.0

    def trade(
        self, ts_ms: int, price: float, notional: float, is_buy: bool, order: int = 0
    ) -> bool:
        """Count a trade; False if it is too old, too far ahead, or from before `first_s`."""
        second = ts_ms // self._interval_ms
        if second == self._second:
            sums = self._current
        elif (found := self._find(second)) is not None:
            sums = found
        else:
            return False
        if sums.first_ms == 0:
            sums.open = sums.high = sums.low = sums.close = price
            sums.first_ms = sums.last_ms = ts_ms
            sums.first_order = sums.last_order = order
        else:
            if price > sums.high:
                sums.high = price
            elif price < sums.low:
                sums.low = price
            if ts_ms > sums.last_ms or (ts_ms == sums.last_ms and order >= sums.last_order):
                sums.close = price
                sums.last_ms = ts_ms
                sums.last_order = order
            elif ts_ms < sums.first_ms or (ts_ms == sums.first_ms and order < sums.first_order):
                sums.open = price
                sums.first_ms = ts_ms
                sums.first_order = order
        if is_buy:
            sums.vbuy += notional
            sums.cbuy += 1
        else:
            sums.vsell += notional
            sums.csell += 1
        return True

    def liquidation(self, ts_ms: int, price: float, notional: float, is_buy: bool) -> bool:
        """Count a forced order; it moves neither prices nor volumes. False as in `trade`.

        `price` serves only a market that has never traded since it is followed.
        """
        sums = self._find(ts_ms // self._interval_ms)
        if sums is None:
            return False
        if is_buy:
            sums.lbuy += notional
        else:
            sums.lsell += notional
        if self._last_price == 0.0:
            self._last_price = price
        return True

    def _find(self, index: int) -> _Sums | None:
        builder = self._builder
        second = index * builder.interval_s
        if second < self.first_s:
            builder.early += 1
            return None
        sums = builder.sums(self, second)
        if sums is not None and second >= builder.next_s:
            self._second = index
            self._current = sums
        return sums

    def close(self, second: int, sums: _Sums) -> Bar:
        """The bar of a period that has closed, or was amended: its trades are late ones now.

        A period with nothing but forced orders stands at the last price known when it closed.
        """
        if self._current is sums:
            self._second = -1
        if sums.last_ms > self._last_ms:
            self._last_ms = sums.last_ms
            self._last_price = sums.close
        elif sums.close == 0.0:
            sums.open = sums.high = sums.low = sums.close = self._last_price
        return self.bar(second, sums)

    def bar(self, second: int, sums: _Sums) -> Bar:
        """What is known of a period."""
        return Bar(
            second,
            self.market,
            sums.open,
            sums.high,
            sums.low,
            sums.close,
            sums.vbuy,
            sums.vsell,
            sums.cbuy,
            sums.csell,
            sums.lbuy,
            sums.lsell,
        )


class BarBuilder:
    """Builds the bars of all markets, and closes them when told what time it is.

    `interval_s`: length of a bar; `grace_ms`: time given to trades after the end of a bar;
    `keep_s`: how long a closed bar can still be amended.
    """

    def __init__(self, *, interval_s: int = 1, grace_ms: int = 200, keep_s: int = 3600) -> None:
        self.interval_s = interval_s
        self.next_s = 0
        """The period that will be closed next; 0 until `advance` was called."""
        self.late = 0
        self.too_late = 0
        self.early = 0
        self.ahead = 0
        self._grace_ms = grace_ms
        self._keep_s = keep_s
        self._seconds: dict[int, dict[Series, _Sums]] = {}
        self._amended: dict[int, dict[Series, None]] = {}

    def series(self, market: str) -> Series:
        """A new market."""
        return Series(market, self)

    def sums(self, series: Series, second: int) -> _Sums | None:
        """Where trades of that period are summed up; None, and counted, if they come too late."""
        if self.next_s:
            if second < self.next_s:
                if second < self.next_s - self._keep_s:
                    self.too_late += 1
                    return None
                self.late += 1
                self._amended.setdefault(second, {})[series] = None
            elif second > self.next_s + FUTURE_S:
                self.ahead += 1
                return None
        markets = self._seconds.setdefault(second, {})
        sums = markets.get(series)
        if sums is None:
            sums = markets[series] = _Sums()
        return sums

    def advance(self, now_ms: int) -> list[Closed]:
        """Close every period that ended at least the grace period before `now_ms`, in order."""
        end = (now_ms - self._grace_ms) // 1000 // self.interval_s * self.interval_s
        if not self.next_s:
            self.next_s = end
        closed = []
        while self.next_s < end:
            closed.append(self._close(self.next_s))
        if closed:
            closed[-1].amended.extend(self._take_amended())
        return closed

    def recent(self, from_s: int, to_s: int, markets: Iterable[str] | None = None) -> Iterator[Bar]:
        """Closed bars of [from_s, to_s) that are still kept, oldest first."""
        wanted = None if markets is None else set(markets)
        for second in sorted(self._seconds):
            if from_s <= second < min(to_s, self.next_s):
                for series, sums in self._seconds[second].items():
                    if wanted is None or series.market in wanted:
                        yield series.bar(second, sums)

    def _close(self, second: int) -> Closed:
        bars: list[Bar] = []
        last_ms: int | None = None
        for series, sums in self._seconds.get(second, {}).items():
            bars.append(series.close(second, sums))
            if sums.last_ms and (last_ms is None or sums.last_ms > last_ms):
                last_ms = sums.last_ms
        self.next_s = second + self.interval_s
        self._expire(self.next_s - self._keep_s)
        return Closed(second, bars, [], last_ms)

    def _take_amended(self) -> Iterator[Bar]:
        for second in sorted(self._amended):
            for series in self._amended[second]:
                yield series.close(second, self._seconds[second][series])
        self._amended.clear()

    def _expire(self, oldest_s: int) -> None:
        # Seconds are nearly always created in order, so the first ones are the oldest.
        while self._seconds and (first := next(iter(self._seconds))) < oldest_s:
            del self._seconds[first]
            self._amended.pop(first, None)
