from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.strategy.params import Params
from services.strategy.sizing import confidence, size

PARAMS = Params()


@pytest.mark.parametrize(
    ("score", "factor", "leverage"),
    [(4.0, 0.5, 2), (5.99, 0.5, 2), (6.0, 1.0, 3), (7.99, 1.0, 3), (8.0, 1.5, 5), (10.0, 1.5, 5)],
)
def test_size_follows_the_score(score: float, factor: float, leverage: int) -> None:
    sized = size(score, 0.003, 0.002, 0.001, PARAMS)
    assert (sized.factor, sized.leverage) == (factor, leverage)


@pytest.mark.parametrize(("hour_scale", "expected"), [(0.001, 0.015), (0.005, 0.03), (0.05, 0.08)])
def test_the_stop_follows_volatility_within_bounds(hour_scale: float, expected: float) -> None:
    assert size(4.0, hour_scale, 0.001, 0.001, PARAMS).stop_distance == pytest.approx(expected)


def test_the_stop_lies_one_range_beyond_the_invalidation() -> None:
    assert size(4.0, 0.001, 0.02, 0.003, PARAMS).stop_distance == pytest.approx(0.023)


def test_leverage_shrinks_where_liquidation_would_come_before_the_stop() -> None:
    sized = size(9.0, 0.001, 0.15, 0.05, PARAMS)
    assert sized.leverage == 2
    assert sized.stop_distance == pytest.approx(0.2)


def test_leverage_and_stop_obey_their_parameters() -> None:
    assert size(9.0, 0.001, 0.001, 0.001, replace(PARAMS, max_leverage=3)).leverage == 3
    assert size(9.0, 0.001, 0.001, 0.001, replace(PARAMS, cat_enabled=False)) == (1.5, 5, None)


@given(st.floats(4, 10), st.floats(1e-6, 0.2), st.floats(1e-6, 0.3), st.floats(1e-6, 0.1))
def test_the_stop_is_beyond_the_level_and_before_liquidation(
    score: float, hour_scale: float, level: float, r5: float
) -> None:
    sized = size(score, hour_scale, level, r5, PARAMS)
    assert sized.stop_distance is not None
    assert level < sized.stop_distance
    assert sized.stop_distance * sized.leverage <= PARAMS.cat_liq + 1e-12
    assert 1 <= sized.leverage <= 5


def test_confidence_grows_with_score_and_coverage() -> None:
    assert confidence(4.0, 1.0) == pytest.approx(0.59)
    assert confidence(10.0, 1.0) == pytest.approx(0.95)
    assert confidence(10.0, 0.8) == pytest.approx(0.76)
