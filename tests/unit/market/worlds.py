"""Markets as columns: regular, thin, late, silent, unknown for a while."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from aggr_server.wire import Gap, Kind, Market
from services.market.columns import Columns, MarketColumns
from tests.unit.strategy import scenarios

T = 1_200_000
EXCHANGE = "X1"
"""Where the preferred market is, if there is one."""

_SHARES = {"X1:btc": 0.7, "X2:btc": 0.6, "X3:btc": 0.3, "X4:btc": 0.4}


@dataclass(frozen=True)
class Life:
    """Share of seconds in which a market trades; (from, length) of what it is silent or unknown."""

    kind: Kind
    traded: float = 1.0
    silent: tuple[tuple[int, int], ...] = ()
    unknown: tuple[tuple[int, int], ...] = ()


def market(i: int, kind: Kind) -> Market:
    return Market(f"X{i}:btc", f"X{i}", "BTC", "USDT", kind)


def world(lives: list[Life], seed: int, seconds: int, start: int = T) -> Columns:
    """One market for each life; heavy-tailed flows, and prices that differ between markets."""
    random = np.random.default_rng(seed)
    common = np.cumsum(random.standard_t(3, seconds)) * 5e-5
    found, gaps = [], []
    for i, life in enumerate(lives, 1):
        on = random.random(seconds) < life.traded
        for first, length in life.silent:
            on[first : first + length] = False
        close = 100.0 * np.exp(common + random.normal(0.0, 2e-5, seconds) + 1e-3 * i)
        opened = close * np.exp(random.normal(0.0, 2e-5, seconds))
        high, low = np.maximum(opened, close) * 1.00002, np.minimum(opened, close) * 0.99998
        sizes = random.lognormal(0.0, 2.0, (2, seconds)) * (random.random((2, seconds)) < 0.8)
        on &= sizes.sum(axis=0) > 0.0
        columns = [np.where(on, v, 0.0) for v in (opened, high, low, close, *sizes)]
        found.append(MarketColumns(market(i, life.kind), *columns))
        gaps += [
            Gap(f"X{i}:btc", start + first, start + first + length, "test")
            for first, length in life.unknown
        ]
    return Columns("BTC", start, start + seconds, tuple(found), tuple(gaps))


def scenario(made: scenarios.Market) -> Columns:
    """A scenario's flows, divided among two spot and two perpetual markets."""
    prices = [np.exp(p) for p in (made.open, made.high, made.low, made.x)]
    found = []
    for i, kind in enumerate(("perp", "spot", "perp", "spot"), 1):
        perp = kind == "perp"
        delta = made.perp_delta if perp else made.spot_delta
        volume = made.perp_volume if perp else made.spot_volume
        share = _SHARES[f"X{i}:btc"]
        taken: list[NDArray[np.float64]] = [
            share * (volume + delta) / 2.0,
            share * (volume - delta) / 2.0,
        ]
        found.append(MarketColumns(market(i, "perp" if perp else "spot"), *prices, *taken))
    return Columns("BTC", made.start, made.start + len(made), tuple(found))


def lives(seconds: int) -> st.SearchStrategy[list[Life]]:
    """Two to six markets of both classes; times of silence around the limits of the rules."""
    spans = st.lists(
        st.tuples(
            st.integers(0, seconds),
            st.sampled_from((5, 11, 29, 30, 31, 61, 90, 150, 400, 901, 1500)),
        ),
        max_size=3,
    ).map(tuple)
    life = st.builds(
        Life,
        kind=st.sampled_from(("spot", "perp")),
        traded=st.sampled_from((1.0, 0.95, 0.6, 0.2, 0.03, 0.01)),
        silent=spans,
        unknown=spans,
    )
    anchors = st.tuples(
        st.builds(Life, kind=st.just("perp"), silent=spans),
        st.builds(Life, kind=st.just("spot"), silent=spans, unknown=spans),
    )
    return st.builds(lambda two, more: [*two, *more], anchors, st.lists(life, max_size=4))
