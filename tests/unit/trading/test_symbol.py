from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.market.aggregate import Aggregator
from services.market.columns import Columns
from services.market.history import OpenInterestSeries
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import Entry, Event, Exit, Transition
from services.trading.symbol import SymbolTrader
from tests.unit.market.worlds import EXCHANGE, Life, lives, scenario, world
from tests.unit.strategy import scenarios
from tests.unit.strategy.hasty import HASTY


class Follower:
    """A trader whose signals are filled at once."""

    def __init__(self, columns: Columns, params: Params, oi: OpenInterestSeries) -> None:
        engine = partial(_engine, "test")
        self.trader = SymbolTrader("BTC", params, EXCHANGE, engine)
        self.trader.aggregator = Aggregator([m.market for m in columns.markets], EXCHANGE)
        self.trader.oi = oi
        self.events: list[Event] = []
        self._trades = 0

    def step(self, columns: Columns, t: int) -> None:
        engine = self.trader.engine
        for event in self.trader.step(columns.closed(t)):
            self.events.append(event)
            if isinstance(event, Entry):
                self._trades += 1
                self.events += engine.accept(f"{self._trades}")
                self.events += engine.filled(event.t, self._trades, event.entry_price)
            elif isinstance(event, Exit):
                self.events += engine.position_closed(event.t, event.reason)

    def state(self) -> dict[str, Any]:
        trader, history = self.trader, self.trader.engine._history
        window = history.seconds
        series = (window.c_spot, window.c_perp, window.x, window.high, window.low)
        return {
            "engine": trader.engine.snapshot(),
            "view": trader.engine.view() if trader.engine.t is not None else None,
            "window": [window.slice(s, window.length).tobytes() for s in series],
            "closes": [c.values.tobytes() for c in (history.spot_closes, history.perp_closes)],
            "candles": (list(history.minutes.closed), list(history.patterns.closed)),
            "price": (history.close, history.price_moved_t, history.price_alive),
            "open": history.open_minute
            and (history.open_minute.x, history.open_minute.spot_volume),
            "members": vars(trader.aggregator.members),
            "reference": vars(trader.aggregator.reference),
            "last": trader.last,
            "published_ms": trader.published_ms,
            "cvds": list(trader._cvds),
            "oi": (trader.oi._times, trader.oi._coins),
        }


def _engine(name: str, base: str, params: Params, epoch: str) -> SymbolEngine:
    return SymbolEngine(base, params, epoch=name)


def open_interest(columns: Columns, every_s: int = 300) -> OpenInterestSeries:
    series = OpenInterestSeries()
    for i in range(-3600, columns.to_s - columns.from_s, every_s):
        series.add("X1", columns.from_s + i, 1000.0 + i % 7)
        if i < 2000:
            series.add("X3", columns.from_s + i, 500.0 + i % 11)
    return series


def compare(columns: Columns, params: Params, pieces: list[int]) -> tuple[list[Event], int]:
    """Assert that skipping equals one second after another; the events and seconds skipped."""
    plain, quick = (Follower(columns, params, open_interest(columns)) for _ in range(2))
    t, skipped, sizes = columns.from_s, 0, cycle(pieces)
    while t < columns.to_s:
        stop = min(columns.to_s, t + next(sizes))
        reached = quick.trader.skip(columns, t, stop)
        for second in range(t, reached):
            plain.step(columns, second)
        if reached > t:
            assert quick.state() == plain.state()
        skipped += reached - t
        t = reached
        if t < stop:
            quick.step(columns, t)
            plain.step(columns, t)
            t += 1
        assert quick.events == plain.events
    assert quick.state() == plain.state()
    return quick.events, skipped


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_skipping_a_scenario_gives_the_same_events_and_state(name: str) -> None:
    made = scenarios.generate(scenarios.SCENARIOS[name])
    events, skipped = compare(scenario(made), Params(), [7200])
    assert any(isinstance(e, Entry) for e in events) == (name != "S6")
    assert skipped > 0.8 * len(made)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_skipping_heavy_tailed_noise_gives_the_same_events_and_state(seed: int) -> None:
    columns = world([Life("perp"), Life("spot"), Life("perp", 0.8), Life("spot", 0.7)], seed, 9000)
    events, skipped = compare(columns, HASTY, [3600, 100, 61])
    reached = Counter(str(e.state) for e in events if isinstance(e, Transition))
    assert reached["WATCHING"] > 10
    assert reached["COOLDOWN"] > 0
    assert skipped > 0.5 * 9000


@given(
    lives=lives(4200),
    seed=st.integers(0, 2**32 - 1),
    pieces=st.lists(st.sampled_from((1, 60, 61, 300, 4000)), min_size=1, max_size=4),
)
@settings(max_examples=12, deadline=None)
def test_skipping_in_any_market_gives_the_same_events_and_state(
    lives: list[Life], seed: int, pieces: list[int]
) -> None:
    compare(world(lives, seed, 4200), HASTY, pieces)


TROUBLE = {
    "unknown": [Life("perp", unknown=((3000, 40),)), Life("spot", unknown=((3500, 700),))],
    "reference": [Life("perp", silent=((3300, 200),)), Life("spot"), Life("perp"), Life("spot")],
    "joining": [Life("perp"), Life("spot"), Life("spot", silent=((0, 2900),))],
    "thin leg": [Life("perp"), Life("spot", 0.004), Life("spot", 0.003)],
    "one class": [Life("perp"), Life("spot", silent=((3000, 300),))],
}


@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_in_the_data_is_skipped_like_it_is_stepped(name: str) -> None:
    compare(world(TROUBLE[name], 11, 6000), HASTY, [3600])


def test_prices_at_which_a_step_would_fail_are_left_to_the_step() -> None:
    columns = world([Life("perp"), Life("spot")], 5, 900)
    columns.markets[0].low[700] = 0.0
    follower = Follower(columns, Params(), OpenInterestSeries())
    t = columns.from_s
    while t < columns.from_s + 700:
        reached = follower.trader.skip(columns, t, columns.to_s)
        if reached == columns.from_s + 700:
            break
        follower.step(columns, reached)
        t = reached + 1
    with pytest.raises(ValueError, match="low"):
        follower.step(columns, columns.from_s + 700)
