"""What becomes of a position that was opened before the process started."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import pytest

from services.strategy.types import OpenPosition
from tests.unit.strategy.conftest import Paused


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("r5", [0.002, None])
def test_an_adopted_position_whose_level_is_not_known_gets_the_farthest_an_entry_may_have(
    paused: Callable[[str], Paused], r5: float | None, direction: int
) -> None:
    engine = paused("watching").engine
    t, current = engine.t, engine.view()["r5"]
    assert t is not None
    engine.adopt(OpenPosition(1, direction, t, 100.0, r5=r5))
    position = engine.position
    assert position is not None
    assert position.r5 == (r5 or current)
    assert position.level == pytest.approx(direction * log(100.0) - 3.25 * position.r5)
    assert engine.view()["exit"]["level_price"] == pytest.approx(
        100.0 * exp(-direction * 3.25 * position.r5)
    )


def test_an_adopted_position_keeps_the_level_that_is_known(
    paused: Callable[[str], Paused],
) -> None:
    engine = paused("watching").engine
    assert engine.t is not None
    engine.adopt(OpenPosition(1, -1, engine.t, 100.0, invalidation_price=101.0))
    assert engine.view()["exit"]["level_price"] == pytest.approx(101.0)
