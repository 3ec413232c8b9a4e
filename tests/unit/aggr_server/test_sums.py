from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aggr_server.sums import Sums, keep, recall, restored
from aggr_server.wire import Bar

T0 = 1_700_000_000
numbers = st.floats(0, 1e12)


@given(st.lists(numbers, min_size=8, max_size=8), st.lists(st.integers(0, 2**64), min_size=6))
def test_what_is_kept_is_recalled_exactly(floats: list[float], integers: list[int]) -> None:
    sums = Sums()
    for name, value in zip(
        ("open", "high", "low", "close", "vbuy", "vsell", "lbuy", "lsell"), floats, strict=True
    ):
        setattr(sums, name, value)
    for name, number in zip(
        ("cbuy", "csell", "first_ms", "first_order", "last_ms", "last_order"),
        integers,
        strict=False,
    ):
        setattr(sums, name, number)
    recalled = recall(keep(sums))
    assert [getattr(recalled, n) for n in Sums.__slots__] == [
        getattr(sums, n) for n in Sums.__slots__
    ]


def test_a_kept_period_takes_a_third_of_the_room() -> None:
    sums = Sums()
    sums.add(T0 * 1000, 1, 10.0, 5.0, True)
    kept = keep(sums)
    assert isinstance(kept, bytes)
    assert len(kept) == 14 * 8


def test_a_restored_bar_keeps_its_open_and_close() -> None:
    bar = Bar(T0, "A:x", 5.0, 8.0, 4.0, 6.0, 10.0, 20.0, 1, 2, 3.0, 4.0)
    sums = recall(restored(bar, 1))
    assert sums.bar(T0, "A:x") == bar
    sums.add(T0 * 1000, 1, 5.5, 1.0, True)
    sums.add(T0 * 1000 + 999, 2, 6.5, 1.0, True)
    assert (sums.open, sums.close, sums.vbuy, sums.cbuy) == (5.0, 6.0, 12.0, 3)


def test_less_is_no_cover_for_more() -> None:
    less, more = Sums(), Sums()
    less.add(T0 * 1000, 1, 10.0, 5.0, True)
    more.add(T0 * 1000, 1, 10.0, 5.0, True)
    assert less.covers(more)
    more.add(T0 * 1000, 2, 10.0, 0.001, False)
    assert more.covers(less)
    assert not less.covers(more)
