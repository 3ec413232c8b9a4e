from __future__ import annotations

import pytest

from services.strategy.series import Closes, SecondWindow


def window_of(count: int, capacity: int = 50, holes: frozenset[int] = frozenset()) -> SecondWindow:
    window = SecondWindow(capacity, 100.0, -100.0)
    for i in range(count):
        window.append(1.0, -2.0, i * 1.0, i + 0.5, i - 0.5, i in holes)
    return window


@pytest.mark.parametrize("count", [1, 49, 50, 99, 100, 101, 149, 500])
def test_any_window_is_contiguous_and_the_accumulators_go_on(count: int) -> None:
    window = window_of(count)
    assert window.length == min(count, 50)
    assert window.latest == (100.0 + count, -100.0 - 2.0 * count)
    size = window.length
    newest = [float(i) for i in range(count - size, count)]
    assert window.slice(window.x, size).tolist() == newest
    assert window.slice(window.c_spot, size).tolist() == [101.0 + i for i in newest]


def test_the_range_spans_high_and_low() -> None:
    assert window_of(120).range(10) == 10.0


def test_a_window_with_too_many_holes_is_not_whole() -> None:
    window = window_of(120, holes=frozenset({100, 101, 119}))
    assert window.whole(30, 0.10)
    assert not window.whole(20, 0.10)
    assert not window.whole(50, 1.0)
    assert window.holes_in(19) == 2


def test_holes_are_moved_to_another_window() -> None:
    marked = window_of(120, holes=frozenset({80, 81, 100, 119}))
    clean = window_of(230)
    clean.mark_holes(marked.hole_ages())
    assert marked.hole_ages() == [[39, 38], [19, 19], [0, 0]]
    assert clean.hole_ages() == marked.hole_ages()
    assert clean.holes_in(39) == 3


def test_a_shift_moves_past_and_future() -> None:
    window = window_of(10)
    before = window.slice(window.c_spot, 10).copy()
    window.shift(5.0, -5.0)
    window.append(1.0, 0.0, 0.0, 0.0, 0.0, False)
    assert window.slice(window.c_spot, 11)[:-1].tolist() == (before + 5.0).tolist()
    assert window.latest == (116.0, -125.0)


def test_closes_keep_the_newest() -> None:
    closes = Closes(5)
    for i in range(23):
        closes.append(float(i))
    assert closes.values.tolist() == [18.0, 19.0, 20.0, 21.0, 22.0]
    assert closes.change(3) == 3.0
    closes.shift(1.0)
    assert closes.values.tolist() == [19.0, 20.0, 21.0, 22.0, 23.0]
