from __future__ import annotations

import pytest

from services.strategy.exits import (
    CVD_TREND,
    FLOW_REVERSAL,
    FLOW_REVERSAL_GIVEBACK,
    LTF_INVALIDATION,
    MAX_HOLD,
    RANGE_BREAK,
    Flows,
    Position,
    check,
    conditions,
    measure,
)
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.types import Environment, Second

PARAMS = Params()
CALM = Flows(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
REVERSAL = CALM._replace(spot=-1.5, perp=0.5, spot_5=-0.01)
GIVEBACK = CALM._replace(spot=0.75, perp=0.1, best=1.5, spot_5=-0.5, spot_15=-1.0, perp_15=1.0)
TREND = CALM._replace(spot_15=-1.5, perp_15=-1.5, spot_5=-0.5, perp_5=-0.5)


@pytest.mark.parametrize(
    ("flows", "reason"),
    [(REVERSAL, FLOW_REVERSAL), (GIVEBACK, FLOW_REVERSAL_GIVEBACK), (TREND, CVD_TREND)],
)
def test_each_flow_pattern_is_its_own_reason(flows: Flows, reason: str) -> None:
    found = conditions(position(), flows, PARAMS)
    assert [name for name, holds in found.items() if holds] == [reason]


@pytest.mark.parametrize(
    "flows",
    [
        CALM,
        REVERSAL._replace(spot=-1.49),
        REVERSAL._replace(perp=0.49),
        REVERSAL._replace(spot_5=0.0),
        GIVEBACK._replace(best=1.49, spot=0.7),
        GIVEBACK._replace(spot=0.76),
        GIVEBACK._replace(spot_5=-0.49),
        GIVEBACK._replace(spot_15=-0.99),
        GIVEBACK._replace(perp=0.0),
        GIVEBACK._replace(perp_15=0.99),
        TREND._replace(spot_15=-1.49),
        TREND._replace(perp_15=-1.49),
        TREND._replace(spot_5=-0.49),
        TREND._replace(perp_5=-0.49),
    ],
)
def test_each_part_of_a_pattern_is_needed(flows: Flows) -> None:
    assert not any(conditions(position(), flows, PARAMS).values())


def position(direction: int = 1, level: float = -1.0, entry_t: int = 1000) -> Position:
    return Position(
        trade_id=1,
        signal_id="",
        setup_id="",
        direction=direction,
        entry_t=entry_t,
        entry_price=1.0,
        level=level,
        r5=0.01,
        score=5.0,
        based=True,
    )


def steady(scales: dict[int, float]) -> History:
    """2000 s of spot buying 1 and perp selling 2 a second at price 1. `scales`: by window, min."""
    history = History(PARAMS, 0.0, 0.0)
    for t in range(2000):
        history.add(Second(t, 1.0, -2.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0))
    for scale in (history.spot, history.perp, history.price):
        scale.scale = dict(scales)
    return history


@pytest.fixture
def history() -> History:
    """The scale of a minute is 100; it grows with the root of the time."""
    return steady({w: 100.0 * w**0.5 for w in PARAMS.scale_windows})


def test_flows_are_measured_from_the_baseline_in_scales_of_the_holding_time(
    history: History,
) -> None:
    held = position()
    window = history.seconds
    held.c_spot, held.c_perp = window.c_spot[1000], window.c_perp[1000]
    flows = measure(held, history, PARAMS)
    root = (999 / 60) ** 0.5
    assert flows.spot == pytest.approx(999 / (100 * root))
    assert flows.perp == pytest.approx(-1998 / (100 * root))
    assert flows.spot_5 == pytest.approx(300 / (100 * 5**0.5))
    assert flows.perp_15 == pytest.approx(-1800 / (100 * 15**0.5))
    held.direction = -1
    assert measure(held, history, PARAMS).spot == pytest.approx(-flows.spot)


def test_a_young_position_is_measured_as_five_minutes_old(history: History) -> None:
    held = position(entry_t=1998)
    held.c_spot = history.seconds.c_spot[1998]
    assert measure(held, history, PARAMS).spot == pytest.approx(1 / (100 * 5**0.5))


def test_a_window_with_holes_meets_no_condition(history: History) -> None:
    history.seconds.mark_holes([[200, 100]])
    flows = measure(position(), history, PARAMS)
    assert (flows.spot_5, flows.perp_5, flows.spot_15, flows.perp_15) == (0.0, 0.0, 0.0, 0.0)


def test_a_time_since_entry_with_holes_meets_no_condition(history: History) -> None:
    held = position(entry_t=1500)
    assert measure(held, history, PARAMS).spot > 0.0
    history.seconds.mark_holes([[400, 341]])
    flows = measure(held, history, PARAMS)
    assert (flows.spot, flows.perp, flows.best) == (0.0, 0.0, 0.0)
    assert flows.spot_5 != 0.0
    assert measure(position(entry_t=1000), history, PARAMS).spot > 0.0


def test_while_the_last_minutes_have_holes_no_flow_exit_comes_nearer(history: History) -> None:
    held = position()
    held.held.update({FLOW_REVERSAL: 29, CVD_TREND: 29})
    history.seconds.mark_holes([[200, 100]])
    assert check(held, history, PARAMS, degraded=False) == ""
    assert (held.held[FLOW_REVERSAL], held.held[CVD_TREND]) == (0, 0)


def test_the_context_must_be_against_it_for_five_minutes(history: History) -> None:
    held = position()
    held.c_spot, held.c_perp = history.seconds.latest
    history.environment = Environment.LONG_SQUEEZE
    reasons = [check(held, history, PARAMS, degraded=False) for _ in range(300)]
    assert reasons == [""] * 299 + [LTF_INVALIDATION]
    history.environment = Environment.NEUTRAL
    assert check(held, history, PARAMS, degraded=False) == ""
    assert held.held[LTF_INVALIDATION] == 0


def test_the_first_reason_of_the_table_wins(history: History) -> None:
    held = position(level=1.0)
    held.held.update({RANGE_BREAK: 9, LTF_INVALIDATION: 299})
    history.environment = Environment.LONG_SQUEEZE
    assert check(held, history, PARAMS, degraded=False) == RANGE_BREAK


def test_untrusted_seconds_clear_the_flow_counts(history: History) -> None:
    held = position()
    held.held.update({FLOW_REVERSAL: 29, LTF_INVALIDATION: 299, RANGE_BREAK: 3})
    check(held, history, PARAMS, degraded=True)
    assert set(held.held.values()) == {0}
    assert held.gap_s == 1


def test_a_time_limit_is_off_unless_set(history: History) -> None:
    held = position()
    held.c_spot, held.c_perp = history.seconds.latest
    assert check(held, history, PARAMS, degraded=False) == ""
    limited = Params(max_hold_s=999)
    assert check(held, history, limited, degraded=False) == MAX_HOLD


def test_a_position_survives_its_dict() -> None:
    held = position()
    copy = Position.from_dict(held.as_dict())
    assert copy == held
    copy.held[RANGE_BREAK] = 5
    assert held.held[RANGE_BREAK] == 0
