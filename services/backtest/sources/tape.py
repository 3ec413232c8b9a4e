"""One symbol's market as it was: one-second columns on disk, and what was known before them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggr_server.wire import Gap, Market
from services.market.columns import Columns, MarketColumns
from services.market.history import OpenInterestSeries
from services.strategy.types import Minute

PIECE_S = 14_400
DAY_S = 86_400

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Kind = Literal["influxdb", "bars", "trades"]


class Piece(NamedTuple):
    """The seconds [from_s, to_s) in a file: markets x (open, high, low, close, buy, sell) x s."""

    path: Path
    from_s: int
    to_s: int


class FundingSample(NamedTuple):
    """Longs pay `rate` of the notional to shorts at `ts_ms`."""

    ts_ms: int
    rate: float


@dataclass(frozen=True, slots=True)
class SecondBars:
    """One market's bars, one element for each second with a trade, `t` ascending.

    Prices in quote per base, `buy` and `sell`: taker volume in quote USD.
    """

    market: Market
    t: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    buy: Floats
    sell: Floats
    gaps: tuple[Gap, ...] = ()

    def columns(self, from_s: int, to_s: int) -> Floats:
        """The seconds [from_s, to_s) as a 6 x s array, zero where nothing traded."""
        found = np.zeros((6, to_s - from_s))
        low, high = np.searchsorted(self.t, (from_s, to_s))
        at = self.t[low:high] - from_s
        values = (self.open, self.high, self.low, self.close, self.buy, self.sell)
        for row, column in zip(found, values, strict=True):
            row[at] = column[low:high]
        return found


@dataclass(frozen=True, slots=True)
class Tape:
    """Everything a run needs of one symbol; small, because the columns stay on disk.

    `markets`: in the order of their names. One-second data cover [first_s, end_s). `minutes`: what
    is known before `first_s`; `filled`: those of them that come from candles; `begin_s`: when they
    were known, 0 if from the start. `volumes`: market -> volume of the day before `first_s`, quote
    USD.
    """

    base: str
    kind: Kind
    markets: tuple[Market, ...]
    first_s: int
    end_s: int
    pieces: tuple[Piece, ...]
    gaps: tuple[Gap, ...] = ()
    minutes: tuple[Minute, ...] = ()
    filled: tuple[int, ...] = ()
    begin_s: int = 0
    volumes: dict[str, float] = field(default_factory=dict)
    oi: OpenInterestSeries = field(default_factory=OpenInterestSeries)
    oi_samples: int = 0
    funding: tuple[FundingSample, ...] = ()
    files: tuple[str, ...] = ()

    def columns(self, from_s: int, to_s: int) -> Iterator[Columns]:
        """The seconds of [from_s, to_s) that there are, piece by piece."""
        for piece in self.pieces:
            start, end = max(from_s, piece.from_s), min(to_s, piece.to_s)
            if start >= end:
                continue
            whole: Floats = np.load(piece.path, mmap_mode="r").view(np.ndarray)
            part = whole[:, :, start - piece.from_s : end - piece.from_s]
            markets = tuple(MarketColumns(m, *part[i]) for i, m in enumerate(self.markets))
            gaps = tuple(g for g in self.gaps if g.from_s < end and g.to_s > start)
            yield Columns(self.base, start, end, markets, gaps)

    def open_interest(self) -> OpenInterestSeries:
        """A copy to be used up: who reads it forgets what is past."""
        return copy.deepcopy(self.oi)

    def volumes_before(self, t: int) -> dict[str, float]:
        """market -> traded volume of the 24 hours before `t`, quote USD.

        Of the part before `first_s` only the sum of a day is known; it counts by its share of it.
        """
        totals = dict.fromkeys((m.market for m in self.markets), 0.0)
        unseen_s = min(DAY_S, max(0, self.first_s - (t - DAY_S)))
        for name, volume in self.volumes.items():
            totals[name] = volume * (unseen_s / DAY_S)
        for columns in self.columns(t - DAY_S, t):
            for m in columns.markets:
                totals[m.market.market] += float(m.buy.sum() + m.sell.sum())
        return {name: volume for name, volume in totals.items() if volume > 0.0}

    def minutes_between(self, reference: Market, from_s: int, to_s: int) -> list[Minute]:
        """One-minute bars of [from_s, to_s), gap-free from the first price on; both full minutes.

        `reference`: the market whose prices they have.
        """
        edge = -(-self.first_s // 60) * 60
        found = [m for m in self.minutes if from_s <= m.t < min(to_s, edge)]
        close = found[-1].close if found else None
        for columns in self.columns(max(from_s, edge), to_s):
            for minute in _minutes(columns, reference, close):
                close = minute.close
                found.append(minute._replace(oi=self.oi.at(minute.t + 59)))
        return found


class Spool:
    """Writes the columns of one symbol's markets into a folder, which the caller removes."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self._base = base
        self.pieces: list[Piece] = []

    def add(self, columns: Columns) -> None:
        """Append the next seconds."""
        rows = [(m.open, m.high, m.low, m.close, m.buy, m.sell) for m in columns.markets]
        self.write(np.array(rows), columns.from_s, columns.to_s)

    def write(self, values: Floats, from_s: int, to_s: int) -> None:
        """`values`: markets x 6 x seconds."""
        path = self._folder / f"{self._base}-{from_s}.npy"
        np.save(path, values)
        self.pieces.append(Piece(path, from_s, to_s))

    def end(self, end_s: int) -> None:
        """Nothing is known from `end_s` on."""
        kept = (piece for piece in self.pieces if piece.from_s < end_s)
        self.pieces = [piece._replace(to_s=min(piece.to_s, end_s)) for piece in kept]


def spans(from_s: int, to_s: int) -> Iterator[tuple[int, int]]:
    """[from_s, to_s) cut at the boundaries of pieces."""
    start = from_s
    while start < to_s:
        end = min(to_s, (start // PIECE_S + 1) * PIECE_S)
        yield start, end
        start = end


def tape_of(base: str, kind: Kind, bars: Sequence[SecondBars], folder: Path) -> Tape:
    """Put bars of all markets of `base` on disk; `bars` must not be empty."""
    ordered = sorted(bars, key=lambda b: b.market.market)
    first_s = int(min(b.t[0] for b in ordered)) // 60 * 60
    end_s = int(max(b.t[-1] for b in ordered)) + 1
    spool = Spool(folder, base)
    for start, end in spans(first_s, end_s):
        spool.write(np.array([b.columns(start, end) for b in ordered]), start, end)
    return Tape(
        base,
        kind,
        tuple(b.market for b in ordered),
        first_s,
        end_s,
        tuple(spool.pieces),
        gaps=tuple(gap for b in ordered for gap in b.gaps),
    )


def _minutes(columns: Columns, reference: Market, close: float | None) -> Iterator[Minute]:
    n = (columns.to_s - columns.from_s) // 60

    def by_minute(values: Floats) -> Floats:
        cut: Floats = values[: n * 60].reshape(n, 60)
        return cut

    sums: dict[str, Floats] = {}
    for kind in ("spot", "perp"):
        chosen = [m for m in columns.markets if m.market.kind == kind]
        for side in ("buy", "sell"):
            # From left to right as a database adds, not pairwise as `sum` does.
            parts = [by_minute(getattr(m, side)).cumsum(axis=1)[:, -1] for m in chosen]
            sums[kind + side] = np.sum(parts, axis=0) if parts else np.zeros(n)
    prices = next(m for m in columns.markets if m.market == reference)
    traded = by_minute(prices.buy) + by_minute(prices.sell) > 0.0
    for i in range(n):
        at = np.flatnonzero(traded[i]) + i * 60
        if len(at):
            ohlc = (
                float(prices.open[at[0]]),
                float(prices.high[at].max()),
                float(prices.low[at].min()),
                float(prices.close[at[-1]]),
            )
        elif close is not None:
            ohlc = (close, close, close, close)
        else:
            continue
        close = ohlc[3]
        spot_buy, spot_sell = float(sums["spotbuy"][i]), float(sums["spotsell"][i])
        perp_buy, perp_sell = float(sums["perpbuy"][i]), float(sums["perpsell"][i])
        yield Minute(
            columns.from_s + i * 60,
            spot_buy - spot_sell,
            perp_buy - perp_sell,
            spot_buy + spot_sell,
            perp_buy + perp_sell,
            *ohlc,
        )
