from __future__ import annotations

import pytest

from services.strategy.context import duration_potential, next_environment, strength
from services.strategy.params import Params
from services.strategy.types import Environment

PARAMS = Params()
SHORT, LONG, NEUTRAL = Environment.SHORT_SQUEEZE, Environment.LONG_SQUEEZE, Environment.NEUTRAL


def test_the_strength_weighs_limited_gaps() -> None:
    assert strength({30: 1.0, 60: -1.0, 240: 1.0}, PARAMS) == pytest.approx(0.2)
    assert strength({30: 99.0, 60: 99.0, 240: 99.0}, PARAMS) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("current", "k", "z_price", "expected"),
    [
        (NEUTRAL, 0.5, 0.0, SHORT),
        (NEUTRAL, 0.49, 0.0, NEUTRAL),
        (NEUTRAL, 0.9, -2.1, NEUTRAL),
        (NEUTRAL, -0.5, 2.0, LONG),
        (SHORT, 0.3, 0.0, SHORT),
        (SHORT, 0.29, 0.0, NEUTRAL),
        (SHORT, 0.9, -2.1, NEUTRAL),
        (SHORT, -0.5, 0.0, LONG),
        (SHORT, -0.5, 2.1, NEUTRAL),
        (LONG, -0.3, 0.0, LONG),
        (LONG, -0.2, 0.0, NEUTRAL),
        (LONG, -0.9, 2.1, NEUTRAL),
        (LONG, 0.5, 0.0, SHORT),
    ],
)
def test_the_environment_has_hysteresis(
    current: Environment, k: float, z_price: float, expected: Environment
) -> None:
    assert next_environment(current, k, z_price, PARAMS) is expected


def test_duration_follows_the_strength_of_either_side() -> None:
    assert [duration_potential(k) for k in (-0.8, 0.55, 0.54)] == ["HIGH", "MEDIUM", "LOW"]
