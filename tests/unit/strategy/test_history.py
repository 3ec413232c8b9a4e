"""What the history says of itself."""

from __future__ import annotations

import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.types import Minute, Second

T = 1_200_000


def minutes(count: int, moving: int) -> list[Minute]:
    """Flows change in each of them, the price in the first `moving` ones only."""
    found, price = [], 100.0
    for i in range(count):
        close = price * (1.001 if i % 2 else 0.999) if i < moving else price
        low, high = sorted((price, close))
        flow = float(1 + i % 3)
        found.append(Minute(T + 60 * i, flow, -flow, 10.0, 10.0, price, high, low, close))
        price = close
    return found


@pytest.mark.parametrize(
    ("count", "moving", "thin"),
    [
        pytest.param(270, 270, (), id="moving"),
        pytest.param(270, 100, ("price",), id="minutes-and-candles-at-rest"),
        pytest.param(270, 130, ("price",), id="candles-at-rest"),
        pytest.param(269, 130, (), id="too-few-minutes-to-tell"),
    ],
)
def test_a_price_that_has_come_to_rest_is_named_once(
    count: int, moving: int, thin: tuple[str, ...]
) -> None:
    engine = SymbolEngine("BTC")
    engine.preload_minutes(minutes(count, moving))
    assert engine.loaded.thin == thin


def test_a_minute_whose_begin_was_not_seen_does_not_count() -> None:
    engine = SymbolEngine("BTC")
    counted = []
    for t in range(T + 30, T + 181):
        engine.step(Second(t, 1.0, -1.0, 1.0, 1.0, 100.0, 100.0, 100.0, 100.0))
        counted.append(engine.loaded.minutes)
    assert counted == [0] * 89 + [1] * 60 + [2, 2]
