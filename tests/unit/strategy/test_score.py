from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.strategy.candles import Candle, Candles
from services.strategy.params import Params
from services.strategy.reset import Setup
from services.strategy.score import (
    Bar,
    Score,
    absorption,
    chase_limit,
    compute,
    fading,
    find_tests,
    rejection,
    signed,
    triggers,
)
from tests.unit.strategy.conftest import Paused

PARAMS = Params()


def setup_with(**changes: float) -> Setup:
    setup = Setup(
        direction=1,
        setup_id="",
        detected_t=0,
        window_min=30,
        anchor_t=0,
        c_spot=0.0,
        c_perp=0.0,
        x=0.0,
        f_spot=10.0,
        f_perp=10.0,
        f_gap=1.0,
        f_x30=1.0,
        f_x5=1.0,
        r5=1.0,
    )
    return replace(setup, **changes)  # type: ignore[arg-type]


def candle(i: int, low: float, high: float, close: float, flow: float = 0.0) -> Candle:
    return Candle(60 * i, low, high, low, close, 1.0, 1.0, flow)


# A low at 0, a bounce, a test at 0.1 that closes off it.
TESTED = [
    candle(0, 0.0, 1.0, 0.2),
    candle(1, 0.2, 1.0, 0.8, flow=5.0),
    candle(2, 0.1, 0.9, 0.6, flow=-7.0),
]


def test_a_return_to_the_low_that_closes_off_it_is_a_test() -> None:
    assert find_tests(TESTED, setup_with(), PARAMS) == pytest.approx((1, 0.7))


@pytest.mark.parametrize(
    "last",
    [
        candle(2, 0.16, 0.9, 0.6),
        candle(2, 0.1, 0.9, 0.4),
        candle(2, -0.5, 0.9, -0.1),
    ],
    ids=["not low enough", "closes in the lower part", "a genuine break"],
)
def test_other_returns_are_no_test(last: Candle) -> None:
    assert find_tests([*TESTED[:2], last], setup_with(), PARAMS) == (0, 0.0)


def test_there_is_no_test_without_a_bounce_before_it() -> None:
    low_bounce = candle(1, 0.2, 1.0, 0.49)
    assert find_tests([TESTED[0], low_bounce, TESTED[2]], setup_with(), PARAMS) == (0, 0.0)


def test_two_tests_need_two_bounces_and_the_last_flow_counts() -> None:
    candles = [*TESTED, candle(3, 0.2, 1.0, 0.9, flow=-7.0), candle(4, 0.05, 1.0, 0.9, flow=-9.0)]
    assert find_tests(candles, setup_with(), PARAMS) == pytest.approx((2, 0.2))


def test_candles_before_the_peak_set_no_level() -> None:
    early = [c._replace(t=c.t - 60) for c in TESTED]
    assert find_tests(early, setup_with(), PARAMS) == (0, 0.0)


def test_a_short_sees_the_mirror_image() -> None:
    mirrored = [
        c._replace(open=-c.open, high=-c.low, low=-c.high, close=-c.close, c_spot=-c.c_spot)
        for c in TESTED
    ]
    short = setup_with(direction=-1)
    assert find_tests(mirrored, short, PARAMS) == find_tests(TESTED, setup_with(), PARAMS)
    assert signed(mirrored[0], -1) == signed(TESTED[0], 1)


def test_a_hammer_on_volume_has_full_quality() -> None:
    assert rejection(Bar(0.8, 1.0, 0.0, 0.9), 2.0, -0.1, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("bar", "volume", "quality"),
    [
        (Bar(0.8, 1.0, 0.0, 0.9), 1.0, 0.8),
        (Bar(0.9, 1.0, 0.0, 0.8), 2.0, 0.75),
        (Bar(0.2, 1.0, 0.0, 0.9), 2.0, 0.65),
        (Bar(0.8, 1.0, 0.7, 0.9), 2.0, 0.0),
        (Bar(0.0, 0.0, 0.0, 0.0), 2.0, 0.0),
    ],
    ids=["usual volume", "red", "no wick", "far from the extreme", "no range"],
)
def test_quality_of_other_candles(bar: Bar, volume: float, quality: float) -> None:
    assert rejection(bar, volume, -0.1, 1.0) == pytest.approx(quality)


def test_a_close_under_the_extreme_has_no_quality() -> None:
    assert rejection(Bar(0.8, 1.0, 0.0, 0.9), 2.0, 0.95, 1.0) == 0.0


def test_a_minute_weighs_less_than_a_pattern_candle() -> None:
    hammer = Candle(0, 0.8, 1.0, 0.0, 0.9, 4.0, 4.0, 0.0)
    minutes, patterns, empty = Candles(60, 50), Candles(60, 50), Candles(300, 50)
    for i in range(-5, 0):
        minutes.add(candle(i, 0.0, 1.0, 0.5))
        patterns.add(candle(i, 0.0, 1.0, 0.5))
    minutes.add(hammer)
    patterns.add(hammer)
    setup = setup_with(extreme=-0.1)
    assert absorption(setup, empty, minutes) == pytest.approx(0.6)
    assert absorption(setup, patterns, minutes) == pytest.approx(1.0)
    later = setup_with(extreme=-0.1, peak_t=1)
    assert absorption(later, patterns, minutes) == 0.0


def test_less_adverse_flow_in_the_last_test_scores() -> None:
    assert fading(setup_with(tests=1, last_test_flow=0.4, adverse_max=1.0)) == 1.0
    assert fading(setup_with(tests=1, last_test_flow=0.6, adverse_max=1.0)) == pytest.approx(0.5)
    assert fading(setup_with(tests=0, last_test_flow=0.0, adverse_max=1.0)) == 0.0
    assert fading(setup_with(tests=1, last_test_flow=0.0, adverse_max=0.0)) == 0.0


GOOD = Score(2.0, 1.0, 0.5, 0.5, 0.0, z_spot=0.5, z_perp=0.0, z_price=0.1, lift=1.0)


def test_a_gap_that_has_not_closed_at_any_speed_has_not_slowed_down(
    paused: Callable[[str], Paused],
) -> None:
    machine = paused("RESET").engine._machine
    assert machine.setup is not None
    slowed, not_moved = (
        compute(replace(machine.setup, speed=0.0, speed_max=v), machine._history, PARAMS)
        for v in (1.0, 0.0)
    )
    assert slowed.deceleration - not_moved.deceleration == pytest.approx(3.5 * 0.4)
    assert slowed._replace(deceleration=0.0) == not_moved._replace(deceleration=0.0)


def test_the_trigger_needs_every_condition() -> None:
    setup = setup_with(reset_type="A")  # type: ignore[arg-type]
    assert triggers(GOOD, setup, PARAMS)
    for bad in (
        GOOD._replace(bias=0.49),
        GOOD._replace(z_spot=0.49),
        GOOD._replace(z_price=0.0),
        GOOD._replace(lift=0.24),
        GOOD._replace(lift=3.01),
    ):
        assert not triggers(bad, setup, PARAMS)


def test_an_explosive_reset_may_be_chased_farther() -> None:
    setup = setup_with(reset_type="B")  # type: ignore[arg-type]
    assert triggers(GOOD._replace(lift=5.9), setup, PARAMS)
    assert chase_limit(setup, PARAMS) == 6.0


def test_optional_gates_on_cost_and_open_interest() -> None:
    setup = setup_with(r5=0.001)
    costly = replace(PARAMS, cost_mult=1.0, round_trip_cost=0.0012)
    assert not triggers(GOOD, setup, costly)
    assert triggers(GOOD, replace(setup, r5=0.0012), costly)
    required = replace(PARAMS, oi_required=True)
    assert not triggers(GOOD, replace(setup, oi=("NEUTRAL", 0.0, 0.0)), required)
    assert triggers(GOOD, replace(setup, oi=("WEAK", 1.0, 0.5)), required)


@given(st.lists(st.floats(-1.0, 3.5), min_size=5, max_size=5))
def test_the_total_is_within_bounds(parts: list[float]) -> None:
    score = Score._make([*parts, 0.0, 0.0, 0.0, 0.0])
    assert 0.0 <= score.total <= 10.0
    assert sum(score.breakdown().values()) == pytest.approx(sum(parts))
