"""Bars that are built again from a venue's list, or known from before a restart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggr_server import bars
from aggr_server.bars import BarBuilder, Closed, Fill, Series
from aggr_server.wire import Bar

T0 = 1_700_000_000

fills = st.lists(
    st.builds(
        Fill,
        ts_ms=st.integers(T0 * 1000, T0 * 1000 + 9_999),
        order=st.just(0),
        price=st.floats(0.001, 1e6),
        notional=st.floats(0.01, 1e7),
        is_buy=st.booleans(),
    ),
    max_size=60,
).map(lambda found: [f._replace(order=n) for n, f in enumerate(sorted(found), start=1)])


@settings(max_examples=200, deadline=None)
@given(fills, st.randoms(use_true_random=False), st.sampled_from([1, 5]))
def test_c15_a_rebuild_that_overlaps_the_stream_leaves_the_bars_of_one_pass(
    trades: list[Fill], chance: random.Random, interval_s: int
) -> None:
    once, twice = _builder(interval_s), _builder(interval_s)
    one, two = once.series("A:x"), twice.series("A:x")
    # In the second pass a part of the stream was lost.
    lost = range(*sorted(chance.randrange(len(trades) + 1) for _ in range(2)))
    for n, t in enumerate(trades):
        one.trade(t.ts_ms, t.price, t.notional, t.is_buy, t.order)
        if n not in lost:
            two.trade(t.ts_ms, t.price, t.notional, t.is_buy, t.order)
    expected, found = _noted(once), _noted(twice)
    assert twice.rebuild(two, trades, T0, T0 + 10) == set()
    found |= _noted(twice)
    assert found == expected
    assert {(b.time, b.market): b for b in twice.recent(0, T0 + 99)} == expected


def test_a_rebuild_that_changes_nothing_emits_nothing() -> None:
    builder, series = _closed_with(Fill(T0 * 1000, 1, 5.0, 10.0, True))
    assert builder.rebuild(series, [Fill(T0 * 1000, 1, 5.0, 10.0, True)], T0, T0 + 1) == set()
    assert builder.pending == 0


def test_all_trades_of_the_list_within_a_second_become_its_bar() -> None:
    builder, series = _closed_with()
    prices = [5.0, 9.0, 2.0, 6.0]
    trades = [Fill(T0 * 1000 + n, n, price, 10.0, n % 2 == 0) for n, price in enumerate(prices)]
    assert builder.rebuild(series, trades, T0, T0 + 1) == set()
    assert _amended(builder) == [Bar(T0, "A:x", 5.0, 9.0, 2.0, 6.0, 20.0, 20.0, 2, 2, 0.0, 0.0)]


def test_a_second_of_which_the_list_has_less_stays_as_it_was() -> None:
    first, second = Fill(T0 * 1000, 1, 5.0, 10.0, True), Fill(T0 * 1000 + 5, 2, 6.0, 10.0, False)
    third = Fill(T0 * 1000 + 1500, 3, 7.0, 1.0, True)
    builder, series = _closed_with(first, second)
    assert builder.rebuild(series, [first, third], T0, T0 + 3) == {T0}
    assert [bar.close for bar in _amended(builder)] == [7.0]
    # A list that merges trades has fewer of them, but not less of them.
    merged = Fill(T0 * 1000, 1, 5.0, 20.0, True)
    assert builder.rebuild(series, [merged], T0, T0 + 1) == set()
    assert [(bar.vbuy, bar.cbuy) for bar in _amended(builder)] == [(20.0, 1)]


def test_open_seconds_are_not_rebuilt() -> None:
    builder, series = _closed_with()
    open_s = builder.next_s
    fill = Fill(open_s * 1000, 1, 5.0, 10.0, True)
    assert builder.rebuild(series, [fill], open_s - 1, open_s + 2) == {open_s, open_s + 1}
    assert builder.pending == 0


def test_a_rebuild_keeps_forced_orders_and_takes_what_is_known_of_more() -> None:
    builder, series = _closed_with(Fill(T0 * 1000, 1, 5.0, 10.0, True))
    series.liquidation(T0 * 1000 + 1, 5.0, 3.0, True)
    series.liquidation(T0 * 1000 + 1, 5.0, 4.0, False)
    assert series.forced(T0 - 5, T0 + 5) == {T0: (3.0, 4.0)}
    fill = Fill(T0 * 1000, 1, 5.0, 11.0, True)
    assert not builder.rebuild(series, [fill], T0, T0 + 1, {T0: (2.0, 9.0)})
    (bar,) = _amended(builder)
    assert (bar.vbuy, bar.lbuy, bar.lsell) == (11.0, 3.0, 9.0)


def test_seconds_older_than_what_is_kept_are_rebuilt_and_emitted() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 1000) * 1000 + 200)
    series = builder.series("A:x")
    listed = [Fill((T0 + n) * 1000, n, 1.0 + n, 1.0, True) for n in range(3)]
    assert builder.rebuild(series, listed, T0 - 3, T0 + 5, {T0 + 3: (0.0, 8.0)}) == set()
    assert [(b.time, b.close, b.vbuy, b.lsell) for b in _amended(builder)] == [
        (T0, 1.0, 1.0, 0.0),
        (T0 + 1, 2.0, 1.0, 0.0),
        (T0 + 2, 3.0, 1.0, 0.0),
        (T0 + 3, 3.0, 0.0, 8.0),
    ]
    assert list(builder.recent(0, T0 + 2000)) == []


def test_forced_orders_without_any_known_price_make_no_bar() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 1000) * 1000 + 200)
    series = builder.series("A:x")
    assert builder.rebuild(series, [], T0, T0 + 2, {T0: (1.0, 0.0)}) == set()
    assert builder.pending == 0


def test_many_rebuilt_bars_leave_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "AMENDED_AT_ONCE", 3)
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 1000) * 1000 + 200)
    series = builder.series("A:x")
    listed = [Fill((T0 + n) * 1000, n, 1.0, 1.0, True) for n in range(7)]
    builder.rebuild(series, listed, T0, T0 + 7)
    assert builder.pending == 7
    assert [len(_amended(builder)) for _ in range(4)] == [3, 3, 1, 0]
    assert builder.pending == 0


def test_bars_of_before_a_restart_are_amended_not_begun_anew() -> None:
    before = [
        Bar(T0, "A:x", 5.0, 8.0, 4.0, 6.0, 10.0, 20.0, 1, 2, 0.0, 0.0),
        Bar(T0 + 1, "A:x", 6.0, 6.0, 6.0, 6.0, 0.0, 0.0, 0, 0, 1.0, 0.0),
    ]
    builder = BarBuilder(keep_s=60)
    replaced = Bar(T0, "A:x", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1, 0.0, 0.0)
    builder.restore([replaced, before[1], before[0]])
    series = builder.series("A:x")
    builder.advance((T0 + 10) * 1000 + 200)
    assert list(builder.recent(0, T0 + 99)) == before
    assert series.forced(T0, T0 + 9) == {T0 + 1: (1.0, 0.0)}
    series.trade(T0 * 1000 + 999, 9.0, 1.0, True)
    series.liquidation((T0 + 10) * 1000, 99.0, 7.0, True)
    (closed,) = builder.advance((T0 + 11) * 1000 + 200)
    assert closed.amended == [Bar(T0, "A:x", 5.0, 9.0, 4.0, 6.0, 11.0, 20.0, 2, 2, 0.0, 0.0)]
    assert [(b.close, b.lbuy) for b in closed.bars] == [(6.0, 7.0)]


def test_order_numbers_of_any_length_are_remembered() -> None:
    builder, series = _closed_with(Fill(T0 * 1000, 2**70, 5.0, 10.0, True))
    series.trade(T0 * 1000, 6.0, 1.0, True, 2**70 - 1)
    assert [(bar.open, bar.close) for bar in _amended(builder)] == [(6.0, 5.0)]


def _closed_with(*fills: Fill) -> tuple[BarBuilder, Series]:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    for fill in fills:
        series.trade(fill.ts_ms, fill.price, fill.notional, fill.is_buy, fill.order)
    builder.advance((T0 + 5) * 1000 + 200)
    return builder, series


def _amended(builder: BarBuilder) -> list[Bar]:
    (closed,) = builder.advance((builder.next_s + 1) * 1000 + 200)
    return closed.amended


def _builder(interval_s: int) -> BarBuilder:
    builder = BarBuilder(interval_s=interval_s, keep_s=60)
    builder.advance(T0 * 1000 + 200)
    return builder


def _noted(builder: BarBuilder) -> dict[tuple[int, str], Bar]:
    closed: list[Closed] = builder.advance((builder.next_s + 10) * 1000 + 200)
    return {(b.time, b.market): b for c in closed for b in (*c.bars, *c.amended)}
