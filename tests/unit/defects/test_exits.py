"""Faults in exits. The ids are those of the list of known faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.market.symbols import direction_of
from services.strategy.engine import SymbolEngine
from services.strategy.exits import (
    FLOW_REVERSAL,
    RANGE_BREAK,
    Flows,
    check,
    conditions,
    measure,
)
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.types import Exit, OpenPosition, State
from tests.unit.strategy.conftest import Paused, events_of, market_of
from tests.unit.strategy.test_exits import position, steady

PARAMS = Params()


@pytest.fixture
def history() -> History:
    """Every scale is 100."""
    return steady(dict.fromkeys(PARAMS.scale_windows, 100.0))


@pytest.mark.parametrize("direction", [1, -1])
def test_D38_noise_does_not_end_a_position_at_once(direction: int) -> None:
    engine = SymbolEngine("BTC")
    for second in market_of("S1").seconds(0, 18_000):
        engine.step(second)
    engine.adopt(OpenPosition(1, direction, second.t, second.close))
    for second in market_of("S1").seconds(18_000, 19_200):
        engine.step(second)
    assert engine.state is State.IN_POSITION


def test_D39_flows_are_counted_from_the_entry(history: History) -> None:
    held = position(entry_t=1500)
    held.c_spot, held.c_perp = (series[1500] for series in (
        history.seconds.c_spot, history.seconds.c_perp))  # fmt: skip
    later = position(entry_t=1500)
    later.c_spot, later.c_perp = history.seconds.latest
    assert measure(held, history, PARAMS).spot > 2.0
    assert measure(later, history, PARAMS).spot == 0.0


def test_D40_spot_leaves_while_perps_stay_is_what_closes() -> None:
    leaving = Flows(-1.6, 0.6, 0.0, -0.1, 0.0, 0.0, 0.0)
    assert conditions(position(), leaving, PARAMS)[FLOW_REVERSAL]
    leading = Flows(1.6, -0.6, 1.6, 0.1, 0.0, 0.0, 0.0)
    assert not any(conditions(position(), leading, PARAMS).values())


def test_D41_the_level_stays_where_it_was(paused: Callable[[str], Paused]) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    at.engine.filled(at.entry.t, 1, at.entry.entry_price)
    level = at.engine.snapshot()["position"]["level"]
    at.step(600)
    assert at.engine.snapshot()["position"]["level"] == level


def test_D42_a_broken_range_closes(history: History) -> None:
    held = position(level=0.01)
    reasons = [check(held, history, PARAMS, degraded=False) for _ in range(10)]
    assert reasons == [""] * 9 + [RANGE_BREAK]


def test_D43_the_larger_context_closes() -> None:
    exits = [event for event in events_of("S4") if isinstance(event, Exit)]
    assert [event.reason for event in exits] == ["LTF_INVALIDATION"]


@pytest.mark.parametrize(
    ("side", "direction"),
    [("LONG", 1), ("long", 1), ("BUY", 1), ("SHORT", -1), ("short", -1), ("Sell", -1)],
)
def test_D44_a_side_is_the_same_in_every_spelling(side: str, direction: int) -> None:
    assert direction_of(side) == direction


def test_D45_each_leg_has_its_own_scale(history: History) -> None:
    before = measure(position(), history, PARAMS)
    history.perp.scale = dict.fromkeys(PARAMS.scale_windows, 1000.0)
    after = measure(position(), history, PARAMS)
    assert after.perp_15 == pytest.approx(before.perp_15 / 10)
    assert after.spot_15 == before.spot_15
