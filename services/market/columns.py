"""Many one-second bars as arrays: what an offline run is fed with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggr_server.wire import Bar, Gap, Market
from services.market.bars import ClosedBars

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MarketColumns:
    """One market's bars, one element a second; all zero where it did not trade.

    Prices in quote per base, `buy` and `sell`: taker volume in quote USD.
    """

    market: Market
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    buy: Floats
    sell: Floats

    def bar(self, i: int, t: int) -> Bar | None:
        """Second `t` at index `i`; None without a trade."""
        buy, sell = self.buy.item(i), self.sell.item(i)
        if buy + sell <= 0.0:
            return None
        return Bar(
            t,
            self.market.market,
            self.open.item(i),
            self.high.item(i),
            self.low.item(i),
            self.close.item(i),
            buy,
            sell,
            0,
            0,
            0.0,
            0.0,
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """All markets of one base symbol over the seconds [from_s, to_s), in the order of their names.

    `gaps`: times at which a market is not fully known.
    """

    base: str
    from_s: int
    to_s: int
    markets: tuple[MarketColumns, ...]
    gaps: tuple[Gap, ...] = ()

    def closed(self, t: int) -> ClosedBars:
        """Second `t` as the live loop gets it."""
        i = t - self.from_s
        found = {m.market.market: bar for m in self.markets if (bar := m.bar(i, t)) is not None}
        gaps = self.gaps
        silent = (
            frozenset(g.market for g in gaps if g.from_s <= t < g.to_s) if gaps else frozenset()
        )
        return ClosedBars(t, {self.base: found}, silent=silent)


def of_bars(
    base: str,
    markets: Sequence[Market],
    bars: Iterable[Bar],
    from_s: int,
    to_s: int,
    gaps: Sequence[Gap] = (),
) -> Columns:
    """Bars of any order; those of other markets or times are left out, the last of several wins."""
    length = to_s - from_s
    columns: Mapping[str, MarketColumns] = {
        m.market: MarketColumns(m, *(np.zeros(length) for _ in range(6)))
        for m in sorted(markets, key=lambda m: m.market)
    }
    for bar in bars:
        found = columns.get(bar.market)
        if found is None or not from_s <= bar.time < to_s:
            continue
        i = bar.time - from_s
        found.open[i], found.high[i], found.low[i] = bar.open, bar.high, bar.low
        found.close[i], found.buy[i], found.sell[i] = bar.close, bar.vbuy, bar.vsell
    return Columns(base, from_s, to_s, tuple(columns.values()), tuple(gaps))
