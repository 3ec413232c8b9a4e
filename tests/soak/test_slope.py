from __future__ import annotations

import numpy as np
import pytest

from tests.soak.slope import Life, slope_of

HOUR_S, EVERY_S = 3600, 10


def life(
    hours: float, per_hour: float = 0.0, *, noise: float = 0.0, begin_s: float = 0.0, seed: int = 1
) -> Life:
    """Memory that grows by `per_hour` under noise that is like its neighbour's."""
    at = np.arange(0.0, hours * HOUR_S, EVERY_S)
    luck = np.random.default_rng(seed)
    drift = np.convolve(luck.normal(0, noise, len(at) + 5), np.ones(6) / 6, "valid")
    return Life((begin_s + at).tolist(), (100 + per_hour * at / HOUR_S + drift).tolist())


def test_what_does_not_grow_has_a_slope_of_zero_and_no_doubt_about_it() -> None:
    slope = slope_of([life(1)], 0)
    assert slope is not None
    assert (slope.per_hour, slope.low, slope.high) == (0, 0, 0)
    assert slope.against(1) == "flat"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("per_hour", [-3.0, 0.0, 2.5])
def test_growth_under_noise_is_found_within_the_interval(per_hour: float, seed: int) -> None:
    slope = slope_of([life(1, per_hour, noise=0.5, seed=seed)], 0)
    assert slope is not None
    assert slope.low - 0.2 < per_hour < slope.high + 0.2
    assert slope.per_hour == pytest.approx(per_hour, abs=0.6)
    assert slope.against(1) == ("grows" if per_hour > 1 else "flat")


def test_single_peaks_do_not_tilt_it() -> None:
    flat = life(1)
    values = list(flat.values)
    values[200:215] = [500.0] * 15
    slope = slope_of([Life(flat.at_s, values)], 0)
    assert slope is not None
    assert slope.per_hour == 0


def test_the_warm_up_of_each_life_does_not_count() -> None:
    start = [*np.linspace(50, 100, 180), *np.full(180, 100.0)]
    lives = [Life((begin_s + np.arange(360) * 10.0).tolist(), start) for begin_s in (0.0, 4000.0)]
    slope = slope_of(lives, 1800)
    assert slope is not None
    assert slope.per_hour == 0
    warming = slope_of(lives, 0)
    assert warming is not None
    assert warming.per_hour > 0


def test_a_restart_is_no_slope() -> None:
    """Between the lives there is a step of 50, which no life has made."""
    first, second = life(0.5), life(0.5, begin_s=2000.0)
    slope = slope_of([first, Life(second.at_s, [v + 50 for v in second.values])], 0)
    assert slope is not None
    assert slope.per_hour == 0


def test_noise_as_large_as_the_question_leaves_it_open() -> None:
    slope = slope_of([life(0.3, 1.0, noise=3.0)], 0)
    assert slope is not None
    assert slope.against(1) == "open"
    assert slope.resolves > 0.5


def test_what_comes_and_goes_is_judged_by_its_floor() -> None:
    at = np.arange(0.0, HOUR_S, EVERY_S)
    busy = 20 + 15 * (np.arange(len(at)) % 7 > 4 - at / 1200)
    kept = slope_of([Life(at.tolist(), busy.tolist())], 0, floor=True)
    assert kept is not None
    assert kept.per_hour == 0
    leaking = slope_of([Life(at.tolist(), (busy + at // 600).tolist())], 0, floor=True)
    assert leaking is not None
    assert leaking.per_hour == pytest.approx(6, abs=0.5)
    assert leaking.against(1) == "grows"


def test_one_descriptor_more_is_no_growth() -> None:
    at = np.arange(0.0, HOUR_S, EVERY_S)
    slope = slope_of([Life(at.tolist(), (20 + (at > 1500)).tolist())], 0, floor=True)
    assert slope is not None
    assert slope.against(1) == "open"


def test_too_few_minutes_give_no_slope() -> None:
    assert slope_of([life(0.08)], 0) is None
    assert slope_of([life(1)], HOUR_S) is None
    assert slope_of([], 0) is None


def test_days_cost_no_more_than_hours() -> None:
    """Longer runs make wider bins, not more of them."""
    slope = slope_of([life(24, 0.2, noise=2.0)], 0)
    assert slope is not None
    assert slope.hours == pytest.approx(24, abs=0.01)
    assert slope.per_hour == pytest.approx(0.2, abs=0.05)
