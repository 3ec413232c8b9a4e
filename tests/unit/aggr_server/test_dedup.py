from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggr_server.dedup import MAX_HOLES, RENUMBERED_MS, REORDERED_MS, Numbers, RecentIds

T0 = 1_700_000_000_000
ids = st.one_of(
    st.lists(st.integers(0, 40), max_size=200),
    st.lists(st.integers(0, 40).map(str), max_size=200),
    st.lists(st.integers(2**63 - 3, 2**63 + 3), max_size=200),
)


@given(ids)
def test_the_last_ids_are_never_taken_twice(ids: list[int] | list[str]) -> None:
    recent = RecentIds(least=10, most=10)
    accepted: list[int | str] = []
    for n in range(len(ids)):
        ts_ms, id = T0 + n, ids[n]
        known = id in accepted[-10:]
        if recent.add(id, ts_ms, ts_ms):
            assert not known
            accepted.append(id)
        else:
            assert id in accepted


@pytest.mark.parametrize("kind", [int, str])
def test_c15_duplicates_within_a_minute_are_known_at_1000_trades_a_second(kind: type) -> None:
    recent = RecentIds()
    chance = random.Random(1)
    for n in range(150_000):
        assert recent.add(kind(n), T0 + n, T0 + n)
        if n % 10 == 0:
            again = chance.randint(max(0, n - 60_000), n)
            assert not recent.add(kind(again), T0 + again, T0 + n)
            assert T0 + again >= recent.horizon_ms


def test_ids_of_a_quiet_market_are_remembered_however_long_it_takes() -> None:
    recent = RecentIds(least=100)
    for n in range(150):
        assert recent.add(n, T0 + n * 3_600_000, T0 + n * 3_600_000)
    for n in range(60, 150):
        assert not recent.add(n, T0 + n * 3_600_000, T0 + 150 * 3_600_000)
        assert T0 + n * 3_600_000 >= recent.horizon_ms


def test_nothing_younger_than_the_horizon_is_forgotten() -> None:
    recent = RecentIds(least=10, most=1000, span_ms=1000)
    for n in range(500):
        recent.add(n, T0 + n * 10, T0 + n * 10)
    first = next(n for n in range(500) if T0 + n * 10 >= recent.horizon_ms)
    assert 0 < first < 400
    assert not any(recent.add(n, T0 + n * 10, T0 + 5000) for n in range(first, 500))
    assert not recent.add(-1, recent.horizon_ms - 1, T0 + 5000)
    assert recent.add(-1, recent.horizon_ms, T0 + 5000)


def test_ids_counted_otherwise_neither_evict_the_live_ones_nor_count_again() -> None:
    recent = RecentIds(least=100, most=5000)
    for n in range(1000):
        recent.add(10_000 + n, T0 + n, T0 + n)
    recent.remember([(T0 - 4000 + n, n) for n in range(4000)])
    assert not any(recent.add(n, T0, T0 + 1000) for n in range(4000))
    assert not any(recent.add(10_000 + n, T0 + n, T0 + 1000) for n in range(1000))
    recent.remember([(T0 + 2000, 20_000)])
    assert not recent.add(20_000, T0 + 2000, T0 + 2000)
    assert recent.add(20_001, T0 + 2000, T0 + 2000)


def test_more_ids_than_are_remembered_move_the_horizon() -> None:
    recent = RecentIds(least=10, most=100)
    recent.remember([(T0 + n, n) for n in range(250)])
    assert recent.horizon_ms == T0 + 150
    assert not any(recent.add(n, T0 + n, T0 + 300) for n in range(150, 250))


@settings(max_examples=200)
@given(st.permutations(range(100, 130)), st.lists(st.integers(100, 129), max_size=30))
def test_numbers_count_once_each_in_whatever_order(arriving: list[int], again: list[int]) -> None:
    numbers, counted = Numbers(), set()
    for n in [*arriving, *again]:
        is_new = numbers.add(n, T0 + n, T0 + 130, T0)
        assert is_new is (n not in counted)
        counted.add(n)
    assert numbers.next == 130
    assert numbers.take_jumps(T0 + REORDERED_MS) == []


def test_a_missing_number_is_told_once_when_it_is_not_just_late() -> None:
    numbers = Numbers()
    for n in (1, 2, 5, 6, 9):
        assert numbers.add(n, T0 + n * 10, T0 + (n - 1) * 10, T0)
    assert numbers.take_jumps(T0 + REORDERED_MS - 1) == []
    assert numbers.add(4, T0 + 40, T0 + 90, T0)
    assert numbers.add(3, T0 + 30, T0 + 90, T0)
    assert numbers.take_jumps(T0 + REORDERED_MS) == [(T0 + 80, T0 + 90)]
    assert numbers.take_jumps(T0 + REORDERED_MS) == []
    # What was given up still counts when it does come, and only once.
    assert numbers.add(7, T0 + 70, T0 + 90, T0)
    assert not numbers.add(7, T0 + 70, T0 + 90, T0)


def test_what_lies_before_the_first_number_is_not_missing() -> None:
    numbers = Numbers()
    assert numbers.add(50, T0, 0, T0)
    assert numbers.add(49, T0 - 1, T0, T0)
    assert not numbers.add(49, T0 - 1, T0, T0)
    assert numbers.take_jumps(T0 + REORDERED_MS) == []


def test_numbers_counted_otherwise_close_jumps_and_do_not_count_again() -> None:
    numbers = Numbers()
    for n in (10, 20):
        numbers.add(n, T0 + n, T0 + n - 1, T0)
    numbers.remember([5, 6, *range(12, 20), 21, 22])
    assert numbers.add(11, T0 + 11, T0 + 22, T0)
    assert not any(numbers.add(n, T0 + n, T0 + 22, T0) for n in (5, 6, 12, 19, 21, 22))
    assert numbers.next == 23
    assert numbers.take_jumps(T0 + REORDERED_MS) == []


def test_what_lies_between_the_past_and_the_first_trade_received_is_no_jump() -> None:
    numbers = Numbers()
    numbers.remember([5, 6, 7])
    assert numbers.add(20, T0, 0, T0)
    assert numbers.take_jumps(T0 + REORDERED_MS) == []
    assert numbers.add(12, T0 - 10, T0, T0)
    assert not numbers.add(12, T0 - 10, T0, T0)


def test_a_venue_that_numbers_anew_is_not_taken_for_repeating_itself() -> None:
    numbers = Numbers()
    for n in range(1000, 1010):
        numbers.add(n, T0, T0, T0)
    later = T0 + RENUMBERED_MS + 1
    assert not numbers.add(1005, T0 + RENUMBERED_MS, T0, T0)
    assert numbers.add(1, later, T0, T0)
    assert numbers.next == 2
    assert numbers.add(1005, later, later, T0)


def test_jumps_beyond_the_bound_are_told_at_once() -> None:
    numbers = Numbers()
    for n in range(0, 4 * MAX_HOLES, 2):
        numbers.add(n, T0 + n, T0 + n - 1, T0)
    told = numbers.take_jumps(T0)
    assert len(told) == MAX_HOLES
    assert told[0] == (T0 + 1, T0 + 2)
