"""A market for the loop: calm symbols and squeezes, five markets for every symbol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aggr_server.wire import Bar, Market
from services.strategy.types import Minute
from tests.unit.strategy import scenarios

BEGIN = 1_795_352_400
"""First measured second, the start of a minute."""

USD = 1000.0
SCENARIOS = ("S5", "S2", "S1", "S4")
FIRST_STAGE_S = scenarios.LEAD_S + 1800
STAGE_STEP_S = 37
STAGES = 30
SQUEEZED = 3
"""Every third symbol is in the middle of a squeeze, the others are calm."""

CALM_S = scenarios.LEAD_S - 2400
VENUES = {
    "COINBASE": ("spot", 0.6, 1.0005),
    "BINANCE": ("spot", 0.4, 0.9995),
    "BINANCE_FUTURES": ("perp", 0.6, 1.0),
    "BYBIT": ("perp", 0.25, 1.001),
    "OKEX": ("perp", 0.15, 0.9998),
}


def bases(count: int) -> list[str]:
    """Names of `count` symbols."""
    return ["BTC", "ETH", *(f"C{i}" for i in range(2, count))][:count]


def markets(base: str) -> list[Market]:
    """The markets of a symbol."""
    return [
        Market(f"{venue}:{base.lower()}", venue, base, "USDT", "spot" if kind == "spot" else "perp")
        for venue, (kind, _, _) in VENUES.items()
    ]


class Coin:
    """One symbol; every market trades in every second. Before the scenario its calm part repeats.

    Symbols differ in scenario, noise, and whether and how far a squeeze has come at `BEGIN`.
    """

    def __init__(self, base: str, number: int) -> None:
        name = SCENARIOS[number % len(SCENARIOS)]
        self._base = base
        self._tape = scenarios.generate(scenarios.SCENARIOS[name], seed=number + 1)
        stage_s = number // SQUEEZED % STAGES * STAGE_STEP_S
        self._offset = (CALM_S if number % SQUEEZED else FIRST_STAGE_S) + stage_s

    def seconds(self, from_s: int, to_s: int) -> Iterator[list[Bar]]:
        """Every second's bars, one a market."""
        tape = self._tape
        at = self._at(from_s, to_s)
        columns = [
            column[at].tolist()
            for column in (tape.spot_delta, tape.spot_volume, tape.perp_delta, tape.perp_volume)
        ]
        prices = np.exp(np.stack([tape.open[at], tape.high[at], tape.low[at], tape.x[at]], axis=1))
        split = [
            (f"{venue}:{self._base.lower()}", kind == "spot", share * USD, level)
            for venue, (kind, share, level) in VENUES.items()
        ]
        rows = zip(range(from_s, to_s), *columns, prices.tolist(), strict=True)
        for t, sd, sv, pd, pv, ohlc in rows:
            found = []
            for name, spot, share, level in split:
                delta, volume = (sd * share, sv * share) if spot else (pd * share, pv * share)
                o, h, lo, c = (p * level for p in ohlc)
                buy, sell = (volume + delta) / 2, (volume - delta) / 2
                found.append(Bar(t, name, o, h, lo, c, buy, sell, 3, 3, 0.0, 0.0))
            yield found

    def minutes(self, from_s: int, to_s: int) -> list[Minute]:
        """The symbol's minutes; both times are multiples of 60."""
        tape = self._tape
        at = self._at(from_s, to_s).reshape(-1, 60)
        flows = [
            (column[at].sum(axis=1) * USD).tolist()
            for column in (tape.spot_delta, tape.perp_delta, tape.spot_volume, tape.perp_volume)
        ]
        prices = (
            np.exp(tape.open[at[:, 0]]).tolist(),
            np.exp(tape.high[at].max(axis=1)).tolist(),
            np.exp(tape.low[at].min(axis=1)).tolist(),
            np.exp(tape.x[at[:, -1]]).tolist(),
        )
        rows = zip(range(from_s, to_s, 60), *flows, *prices, strict=True)
        return [Minute(*row) for row in rows]

    def _at(self, from_s: int, to_s: int) -> NDArray[np.int64]:
        """Places in the tape; before its beginning it is run through backwards and forwards."""
        place = np.arange(from_s, to_s) - BEGIN + self._offset
        length = scenarios.LEAD_S - 1
        folded = place % (2 * length)
        folded = np.where(folded > length, 2 * length - folded, folded)
        return np.where(place < 0, folded, np.minimum(place, len(self._tape) - 1))


def volumes(all_markets: Sequence[Market]) -> dict[str, float]:
    """Each market's volume of a day, about."""
    return {
        m.market: (30.0 if m.kind == "spot" else 43.0) * VENUES[m.exchange][1] * USD * 86_400
        for m in all_markets
    }
