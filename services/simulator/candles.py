"""Candles of one market, as REST serves them: from the very trades where they are recent.

Three resolutions join: a plain random walk of minutes before the model's path begins, bars of the
flow, and bars of the trades.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from services.simulator import bars, noise
from services.simulator.bars import Bars
from services.simulator.instruments import Instrument
from services.simulator.model import HISTORY_S

ANCIENT_S = 22 * 86_400
EXACT_S = 4 * 3600
MINUTE = 60
INTERVALS = {"1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400}

_WALK_PER_MINUTE = 4e-4


class Candle(NamedTuple):
    """Prices in quote, `base` and `bought` in coins, `quote` and `bought_quote` in quote."""

    open_ms: int
    close_ms: int
    open: float
    high: float
    low: float
    close: float
    base: float
    quote: float
    trades: int
    bought: float
    bought_quote: float


class BarSource(Protocol):
    """Where one-second bars of the relative seconds [start, end) come from."""

    seed: int

    def bars(self, instrument: Instrument, start: int, end: int) -> Bars:
        """From the very trades."""

    def coarse_bars(self, instrument: Instrument, start: int, end: int) -> Bars:
        """From the flow, without single trades; much cheaper."""


class Candles:
    """Minutes of one market since 22 days before `anchor`, extended on demand."""

    def __init__(self, market: BarSource, instrument: Instrument, anchor: int) -> None:
        self.anchor = anchor
        self._market = market
        self._instrument = instrument
        path = market.coarse_bars(instrument, -HISTORY_S, -HISTORY_S + 1)
        self._closed = _ancient(market.seed, instrument, float(path.open[0]), anchor)
        self._open: Bars | None = None
        self._until = -HISTORY_S

    def advance(self, until: int) -> None:
        """Take in everything before the relative second `until`."""
        while self._until < until:
            exact_from = until - EXACT_S
            end = min(until, self._until + 6 * 3600)
            if self._until < exact_from:
                end = min(end, exact_from)
                piece = self._market.coarse_bars(self._instrument, self._until, end)
            else:
                piece = self._market.bars(self._instrument, self._until, end)
            self._take(piece)
            self._until = end

    def latest(self, length_s: int, limit: int) -> list[Candle]:
        """The last `limit` candles of `length_s` seconds, the unfinished one included."""
        minutes = self._closed if self._open is None else bars.joined([self._closed, self._open])
        wanted = minutes.time >= self._until - (limit + 1) * length_s
        recent = Bars(*(getattr(minutes, name)[wanted] for name in Bars.__dataclass_fields__))
        longer = bars.rolled_up(recent, length_s, self.anchor)
        return _filled(longer, length_s, self._until, self.anchor)[-limit:]

    def _take(self, seconds: Bars) -> None:
        known = [seconds] if self._open is None else [self._open, seconds]
        minutes = bars.rolled_up(bars.joined(known), MINUTE, self.anchor)
        if len(minutes.time) == 0:
            return
        last = int(minutes.time[-1])
        self._closed = bars.joined([self._closed, bars.cut(minutes, -ANCIENT_S * 2, last)])
        self._open = bars.cut(minutes, last, last + MINUTE)


def _ancient(seed: int, instrument: Instrument, end_price: float, anchor: int) -> Bars:
    count = (ANCIENT_S - HISTORY_S) // MINUTE
    end = -HISTORY_S - (-HISTORY_S + anchor) % MINUTE
    index = np.arange(count, dtype=np.int64)
    key = noise.stream(seed, f"{instrument.base}:ancient")
    steps = _WALK_PER_MINUTE * noise.centred(key, index)
    # Walked backwards from where the path begins.
    opens = (np.log(end_price) - np.cumsum(steps))[::-1]
    closes = np.concatenate((opens[1:], [np.log(end_price)]))
    spread = _WALK_PER_MINUTE * noise.uniform(key, index + count)
    scale = 10.0**instrument.price_decimals
    o, h, lo, c = (
        np.rint(np.exp(p) * scale) / scale
        for p in (
            opens,
            np.maximum(opens, closes) + spread,
            np.minimum(opens, closes) - spread,
            closes,
        )
    )
    usd = 1e6 * instrument.share * (0.5 + noise.uniform(key, index + 2 * count))
    trades = np.full(count, int(instrument.rate * MINUTE / 2), dtype=np.int64)
    none = np.zeros(count)
    return Bars(
        end - MINUTE * (count - index), o, h, lo, c, usd, usd, none, none,
        usd / c, usd / c, trades, trades,
    )  # fmt: skip


def _filled(candles: Bars, length_s: int, until: int, anchor: int) -> list[Candle]:
    """A candle for each interval; one without trades is flat at the last close."""
    columns = [getattr(candles, name).tolist() for name in Bars.__dataclass_fields__]
    rows = dict(zip(columns[0], zip(*columns[1:], strict=True), strict=True))
    if not rows:
        return []
    found: list[Candle] = []
    current = until + anchor - (until + anchor) % length_s - anchor
    close = 0.0
    for start in range(columns[0][0], current + 1, length_s):
        open_ms = (start + anchor) * 1000
        close_ms = open_ms + length_s * 1000 - 1
        if start in rows:
            o, h, lo, close, vbuy, vsell, _, _, bought, sold, cbuy, csell = rows[start]
            found.append(
                Candle(
                    open_ms, close_ms, o, h, lo, close,
                    bought + sold, vbuy + vsell, cbuy + csell, bought, vbuy,
                )
            )  # fmt: skip
        else:
            found.append(Candle(open_ms, close_ms, close, close, close, close, 0, 0, 0, 0, 0))
    return found
