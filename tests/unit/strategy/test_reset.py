from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import (
    Setup,
    exhausted,
    explosive,
    follow,
    open_setup,
)
from services.strategy.types import Second

PARAMS = Params()
DETECTED = 1860


def history_of(count: int, spot: Callable[[int], float]) -> History:
    """Spot deltas as given, perp selling 0.1 a second, prices that fall back from 2 s to 2 s."""
    history = History(PARAMS, 0.0, 0.0)
    for t in range(count):
        extend(history, [(spot(t), 100.0 + (t % 2))])
    for scale in (history.spot, history.perp):
        scale.scale = dict.fromkeys(PARAMS.scale_windows, 100.0)
    history.price.scale = dict.fromkeys(PARAMS.scale_windows, 0.02)
    history.gap_scale = {15: 1.0, 30: 1.0}
    history.r5 = 0.05
    return history


def extend(history: History, rows: Iterable[tuple[float, float]], *, perp: float = -0.1) -> None:
    """Append (spot delta, price) rows; the scales stay as they are."""
    for spot, price in rows:
        t = 0 if history.t is None else history.t + 1
        scales = [dict(s.scale) for s in (history.spot, history.perp, history.price)]
        kept = (dict(history.gap_scale), history.r5)
        history.add(Second(t, spot, perp, 1.0, 1.0, price, price + 0.5, price - 0.5, price))
        history.spot.scale, history.perp.scale, history.price.scale = scales
        history.gap_scale, history.r5 = kept


@pytest.fixture
def history() -> History:
    """The gap peaks 100 seconds before the detection."""
    return history_of(DETECTED, lambda t: 0.1 if t < DETECTED - 100 else -0.2)


@pytest.fixture
def setup(history: History) -> Setup:
    return open_setup(history, "BTC", 1, 30)


def test_the_path_starts_at_the_anchor_and_the_peak_is_found(setup: Setup) -> None:
    assert setup.anchor_t == DETECTED - 1 - 1800
    assert setup.peak_t == DETECTED - 101
    assert setup.peak == pytest.approx(1700 * 0.2 / 100)
    assert setup.gap == pytest.approx(setup.peak - 100 * 0.1 / 100)
    assert setup.closed == pytest.approx(0.1 / 3.4)
    assert setup.setup_id == f"BTC:long:{DETECTED - 1}"


def test_speed_and_adverse_flow_are_those_since_the_peak(history: History, setup: Setup) -> None:
    extend(history, [(-0.5, 100.0)] * 20)
    assert not follow(setup, history, PARAMS, peak_frozen=False)
    # 120 s since the peak: 100 at -0.2 and 20 at -0.5, perp -0.1 throughout.
    assert setup.speed == pytest.approx((100 * 0.1 + 20 * 0.4) / 100)
    assert setup.speed_max == setup.speed
    assert setup.adverse_max == pytest.approx((100 * 0.2 + 20 * 0.5) / 100)


def test_maxima_start_one_and_five_minutes_after_the_peak(history: History, setup: Setup) -> None:
    extend(history, [(400.0, 100.0)])
    assert follow(setup, history, PARAMS, peak_frozen=False)
    for age in range(1, 301):
        extend(history, [(-0.3, 100.0)])
        follow(setup, history, PARAMS, peak_frozen=False)
        assert (setup.speed_max > 0.0) == (age >= 60)
        assert (setup.span_max > 0.0) == (age >= 300)


def test_a_wider_gap_starts_a_new_peak_unless_it_is_frozen(history: History, setup: Setup) -> None:
    extend(history, [(400.0, 90.0)])
    frozen = replace(setup)
    assert not follow(frozen, history, PARAMS, peak_frozen=True)
    assert frozen.peak_t == setup.peak_t
    assert frozen.closed < 0.0
    assert follow(setup, history, PARAMS, peak_frozen=False)
    assert setup.peak_t == history.t
    assert setup.extreme == history.seconds.x[history.seconds.last]
    assert setup.speed_max == 0.0


def test_the_extreme_is_the_lowest_low_since_the_peak(history: History, setup: Setup) -> None:
    extend(history, [(0.0, 98.0), (0.0, 97.0), (0.0, 99.0)])
    for _ in range(3):
        follow(setup, history, PARAMS, peak_frozen=False)
    before = setup.extreme
    extend(history, [(0.0, 90.0)])
    follow(setup, history, PARAMS, peak_frozen=False)
    assert setup.extreme < before


def stalled(history: History, setup: Setup) -> Setup:
    """Half of the gap closes fast, then nothing moves."""
    extend(history, [(-2.0, 100.0)] * 80 + [(-0.1, 100.0)] * 300)
    follow(setup, history, PARAMS, peak_frozen=False)
    return replace(setup, speed_max=1.0)


def test_a_gap_that_stops_closing_at_a_still_price_is_a_type_a_reset(
    history: History, setup: Setup
) -> None:
    assert exhausted(stalled(history, setup), history, PARAMS)


def test_each_condition_of_type_a_is_needed(history: History, setup: Setup) -> None:
    ready = stalled(history, setup)
    assert history.t is not None
    for broken in (
        replace(ready, peak_t=history.t - 119),
        replace(ready, peak=ready.gap * 1.2),
        replace(ready, speed_max=0.0),
        replace(ready, speed=0.36),
        replace(ready, f_x5=-1.0),
        replace(ready, r5=0.001),
    ):
        assert not exhausted(broken, history, PARAMS)


RALLY = [(2.0, 100.0 + i / 9) for i in range(181)]


@pytest.mark.parametrize(("perp", "carried"), [(4.0, True), (-0.1, False)])
def test_a_type_b_reset_is_a_move_carried_by_both_legs(
    history: History, setup: Setup, perp: float, carried: bool
) -> None:
    extend(history, RALLY, perp=perp)
    follow(setup, history, PARAMS, peak_frozen=True)
    assert explosive(setup, history, PARAMS) is carried


def test_each_condition_of_type_b_is_needed(history: History, setup: Setup) -> None:
    extend(history, RALLY, perp=4.0)
    follow(setup, history, PARAMS, peak_frozen=True)
    assert history.t is not None
    for broken in (
        replace(setup, direction=-1),
        replace(setup, peak_t=history.t - 29),
        replace(setup, peak=setup.gap / 0.91),
    ):
        assert not explosive(broken, history, PARAMS)
    history.price.scale = dict.fromkeys(PARAMS.scale_windows, 0.2)
    assert not explosive(setup, history, PARAMS)


def test_a_setup_survives_its_dict(setup: Setup) -> None:
    assert Setup.from_dict(setup.as_dict()) == setup
