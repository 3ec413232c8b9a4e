"""Columns of seconds, and longer bars made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.ring import PRICES, ROWS, Floats, Ring, empty, longer

LENGTH = 40


def column(value: float) -> Floats:
    return np.full(len(ROWS), value)


@given(st.lists(st.tuples(st.integers(0, 25), st.booleans()), min_size=1, max_size=60))
def test_a_ring_holds_the_newest_seconds_whatever_the_steps(steps: list[tuple[int, bool]]) -> None:
    ring, newest = Ring(LENGTH), 1_000
    ring.reach(newest)
    told: dict[int, int] = {}
    for number, (step, back) in enumerate(steps, start=1):
        t = newest - step if back else newest + step
        newest = max(newest, t)
        ring.reach(t)
        ring.put(t, column(number))
        told[t] = number

    assert ring.end == newest + 1
    found = ring.between(ring.start, ring.end)[-1].tolist()
    assert found == [told.get(t, 0) for t in range(ring.start, ring.end)]


def test_seconds_never_told_have_no_flow_and_no_price() -> None:
    ring = Ring(LENGTH)
    ring.reach(100)
    ring.put(100, column(7.0))
    ring.reach(103)

    found = ring.between(100, 104)

    assert found[PRICES:, 1:].sum() == 0.0
    assert np.isnan(found[:PRICES, 1:]).all()
    assert found[0, 0] == 7.0


def test_a_jump_longer_than_the_ring_forgets_everything() -> None:
    ring = Ring(LENGTH)
    for t in range(LENGTH):
        ring.reach(t)
        ring.put(t, column(1.0))

    ring.reach(10 * LENGTH)

    assert ring.between(ring.start, ring.end)[PRICES:].sum() == 0.0


def test_a_span_is_taken_over_as_far_as_it_fits() -> None:
    ring = Ring(LENGTH)
    ring.reach(99)
    span = np.tile(np.arange(50.0, 120.0), (len(ROWS), 1))

    ring.put_all(50, span)

    assert ring.between(60, 100)[0].tolist() == [float(t) for t in range(60, 100)]


@pytest.mark.parametrize(
    ("asked", "found"), [(104, (3.0, 104)), (103, (1.0, 101)), (100, None), (500, (3.0, 104))]
)
def test_the_newest_close_up_to_a_second(asked: int, found: tuple[float, int] | None) -> None:
    ring = Ring(LENGTH)
    ring.reach(100)
    for t, price in ((101, 1.0), (104, 3.0)):
        ring.reach(t)
        ring.put(t, column(price))
    ring.reach(110)

    assert ring.close_at(asked) == found


prices = st.one_of(st.just(math.nan), st.floats(1.0, 1e5))


@given(
    st.sampled_from([1, 5, 15]),
    st.lists(st.tuples(prices, st.floats(-1e6, 1e6)), min_size=15, max_size=45),
)
def test_longer_bars_are_the_sums_and_extremes_of_their_seconds(
    step: int, rows: list[tuple[float, float]]
) -> None:
    count = len(rows) // step * step
    columns = empty(count)
    for i, (price, flow) in enumerate(rows[:count]):
        columns[:PRICES, i] = price, price + 1.0, price - 1.0, price + 0.5
        columns[PRICES:, i] = flow

    found = longer(columns, step)

    for k in range(count // step):
        part = rows[k * step : (k + 1) * step]
        traded = [price for price, _ in part if not math.isnan(price)]
        assert found[4, k] == pytest.approx(sum(flow for _, flow in part), abs=1e-6)
        if traded:
            expected = [traded[0], max(traded) + 1.0, min(traded) - 1.0, traded[-1] + 0.5]
            assert found[:PRICES, k].tolist() == expected
        else:
            assert np.isnan(found[:PRICES, k]).all()
