from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.strategy.params import Params
from services.strategy.scales import (
    INDEPENDENT_GAP,
    ChangeScale,
    SlidingMagnitudes,
    clip,
    gap_scales,
    ramp,
    scale_of,
)
from services.strategy.series import Closes, Floats

PARAMS = Params()
WINDOWS = PARAMS.scale_windows


def fed(values: Floats, params: Params = PARAMS) -> ChangeScale:
    closes = Closes(params.hist_min + max(WINDOWS) + 1)
    scale = ChangeScale(params, WINDOWS)
    for value in values:
        closes.append(float(value))
        scale.add(closes)
    scale.refresh(closes.length)
    return scale


def expected_sigmas(values: Floats, params: Params = PARAMS) -> list[float]:
    """The estimator written out with fresh sorts."""
    a = values[-(params.hist_min + max(WINDOWS) + 1) :]
    end = len(a) - params.scale_lag_min
    sigmas: list[float] = []
    previous, previous_w = 0.0, 1
    for w in WINDOWS:
        low = max(0, end - params.hist_min - w)
        u = np.sort(np.abs(a[low + w : max(end, low + w)] - a[low : max(end - w, low)]))
        m = len(u)
        sigma = previous * sqrt(w / previous_w)
        if m >= 6 * w and m > 30:
            own = max(u[m // 2] / 0.6745, u[int(0.9 * m)] / 1.6449)
            sigma = 0.0 if w == 1 and u[m // 2] == 0 else max(own, 0.7 * sigma)
        sigmas.append(float(sigma))
        previous, previous_w = sigma, w
    return sigmas


@settings(max_examples=15, deadline=None)
@given(st.integers(40, 2200), st.integers(0, 1000))
def test_sliding_estimates_equal_those_from_scratch(length: int, seed: int) -> None:
    steps = np.random.default_rng(seed).standard_t(3, length)
    values = np.cumsum(np.where(steps > 1.5, 0.0, steps))
    assert list(fed(values).sigma.values()) == pytest.approx(expected_sigmas(values), rel=1e-12)


def test_a_small_example_by_hand() -> None:
    # 40 one-minute changes of 1..40 before the lag: median is number 20 of 0..39, 90th number 36.
    values = np.concatenate((np.cumsum(np.arange(0.0, 41.0)), np.full(30, 1e6)))
    scale = fed(values)
    assert scale.sigma[1] == pytest.approx(max(21 / 0.6745, 37 / 1.6449))
    # Five-minute changes are 15, 20, ... 190: order statistics 18 and 32 of 36.
    assert scale.sigma[5] == pytest.approx(max(105 / 0.6745, 175 / 1.6449))
    # Too few samples for 15 minutes: the shorter window grows with the root of time.
    assert scale.sigma[15] == pytest.approx(scale.sigma[5] * sqrt(3))
    assert scale.activity == 1.0


def test_the_last_half_hour_does_not_count() -> None:
    quiet = np.cumsum(np.tile([1.0, -1.0], 200))
    loud = quiet.copy()
    loud[-30:] += np.arange(30) * 1000.0
    assert fed(loud).scale == fed(quiet).scale


def test_a_series_that_rests_most_minutes_is_thin() -> None:
    steps = np.zeros(400)
    steps[::3] = 1.0
    assert fed(np.cumsum(steps)).sigma[1] == 0.0


def test_a_burst_raises_the_scale_and_a_lull_lowers_it_within_bounds() -> None:
    calm = np.tile([1.0, -1.0, 2.0, -2.0], 400)
    burst = np.concatenate((calm, 100.0 * calm[:150]))
    lull = np.concatenate((calm, 0.01 * calm[:150]))
    assert fed(np.cumsum(burst)).activity == pytest.approx(3.0)
    assert fed(np.cumsum(lull)).activity == pytest.approx(0.7)
    scale = fed(np.cumsum(burst))
    assert scale.scale[30] == pytest.approx(3.0 * scale.sigma[30])


def test_unknown_changes_are_left_out() -> None:
    magnitudes = SlidingMagnitudes()
    for change in (3.0, None, -5.0, 1.0, None):
        magnitudes.push(change, keep=4)
    assert len(magnitudes) == 2
    assert magnitudes.median == 5.0


def test_the_gap_scale_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    spot, perp = np.cumsum(rng.normal(size=(2, 900)), axis=1)
    sigma = {w: 2.0 * sqrt(w) for w in WINDOWS}
    found = gap_scales(spot, perp, sigma, sigma, (30,), PARAMS)
    end = 870
    u = np.sort(
        np.abs((spot[30:end] - spot[: end - 30]) - (perp[30:end] - perp[: end - 30])) / sigma[30]
    )
    m = len(u)
    expected = max(u[m // 2] / 0.6745, u[int(0.9 * m)] / 1.6449)
    assert found[30] == pytest.approx(clip(float(expected), 0.5, 2.0))


def test_a_gap_scale_with_too_few_samples_is_that_of_a_shorter_window() -> None:
    rng = np.random.default_rng(2)
    spot, perp = np.cumsum(rng.normal(size=(2, 300)), axis=1)
    sigma = {w: sqrt(w) for w in WINDOWS}
    found = gap_scales(spot, perp, sigma, sigma, (15, 240), PARAMS)
    assert found[240] == found[15]
    assert gap_scales(spot[:50], perp[:50], sigma, sigma, (15,), PARAMS) == {15: INDEPENDENT_GAP}


def test_legs_that_move_together_have_the_smallest_gap_scale() -> None:
    spot = np.cumsum(np.random.default_rng(3).normal(size=600))
    sigma = {w: sqrt(w) for w in WINDOWS}
    assert gap_scales(spot, spot, sigma, sigma, (15,), PARAMS) == {15: PARAMS.gap_lo}


def test_the_scale_of_other_lengths_grows_with_the_root_of_time() -> None:
    scale = {1: 2.0, 5: 7.0, 15: 11.0}
    assert scale_of(scale, 180) == pytest.approx(2.0 * sqrt(3))
    assert scale_of(scale, 300) == 7.0
    assert scale_of(scale, 600) == pytest.approx(7.0 * sqrt(2))
    assert scale_of(scale, 30) == pytest.approx(2.0 * sqrt(0.5))


def test_ramp_and_clip() -> None:
    assert [ramp(v, 1.0, 3.0) for v in (0.0, 1.0, 2.0, 3.0, 9.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [clip(v, -1.0, 1.0) for v in (-2.0, 0.5, 2.0)] == [-1.0, 0.5, 1.0]


def test_history_length_is_a_parameter() -> None:
    params = replace(PARAMS, hist_min=60)
    values = np.cumsum(np.concatenate((np.tile([50.0, -50.0], 100), np.tile([1.0, -1.0], 100))))
    assert fed(values, params).sigma[1] == pytest.approx(1 / 0.6745)
