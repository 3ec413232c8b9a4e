from __future__ import annotations

import pytest

from services.strategy.candles import Candle, Candles, MedianRange, median


def minute(i: int, *, low: float = 0.0, high: float = 2.0, volume: float = 1.0) -> Candle:
    return Candle(60 * i, 1.0 + i, high, low, 1.5 + i, volume, 2.0 * volume, float(i))


def test_a_candle_closes_with_its_last_minute() -> None:
    candles = Candles(300, 10)
    closed = [candles.add(minute(i, low=-float(i), high=10.0 - i)) for i in range(5)]
    assert closed == [False, False, False, False, True]
    assert candles.closed[0] == Candle(0, 1.0, 10.0, -4.0, 5.5, 5.0, 10.0, 4.0)


def test_a_candle_whose_start_was_missed_is_left_out() -> None:
    candles = Candles(300, 10)
    for i in range(2, 10):
        candles.add(minute(i))
    assert [candle.t for candle in candles.closed] == [300]


def test_minutes_are_their_own_candles() -> None:
    candles = Candles(60, 3)
    assert all(candles.add(minute(i)) for i in range(5))
    assert list(candles.closed) == [minute(i) for i in (2, 3, 4)]


def test_since_gives_the_newest_that_start_late_enough() -> None:
    candles = Candles(60, 100)
    for i in range(10):
        candles.add(minute(i))
    assert [candle.t for candle in candles.since(420, 3)] == [420, 480, 540]
    assert [candle.t for candle in candles.since(0, 2)] == [480, 540]
    assert candles.since(541, 3) == []


def test_median_volumes_leave_the_newest_out() -> None:
    candles = Candles(60, 100)
    for i, volume in enumerate([9.0, 9.0, 1.0, 2.0, 4.0, 100.0]):
        candles.add(minute(i, volume=volume))
    assert candles.median_volumes(3) == (2.0, 4.0)
    assert candles.median_volumes(4) == (3.0, 6.0)
    assert Candles(60, 100).median_volumes(3) == (0.0, 0.0)


def test_the_median_range_slides() -> None:
    ranges = MedianRange(3)
    assert ranges.value == 0.0
    for high in (1.0, 5.0, 2.0, 3.0):
        ranges.add(minute(0, high=high))
    assert ranges.value == 3.0


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0.0), ([3.0], 3.0), ([4.0, 1.0], 2.5), ([3.0, 1.0, 2.0], 2.0)]
)
def test_median(values: list[float], expected: float) -> None:
    assert median(values) == expected
