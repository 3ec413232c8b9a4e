from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggr_server import bars
from aggr_server.bars import FUTURE_S, BarBuilder, Closed
from aggr_server.wire import Bar

T0 = 1_700_000_000


class Tick(NamedTuple):
    ts_ms: int
    order: int
    price: float
    notional: float
    is_buy: bool
    market: str = "A:x"


ticks = st.lists(
    st.builds(
        Tick,
        ts_ms=st.integers(T0 * 1000, T0 * 1000 + 9_999),
        order=st.just(0),
        price=st.floats(0.001, 1e6),
        notional=st.floats(0.01, 1e7),
        is_buy=st.booleans(),
        market=st.sampled_from(["A:x", "B:y"]),
    ),
    max_size=60,
).map(lambda found: [tick._replace(order=n) for n, tick in enumerate(found, start=1)])


def truth(trades: list[Tick], interval_s: int = 1) -> dict[tuple[int, str], Bar]:
    """Bars made from the sorted list, in the plainest way."""
    bars: dict[tuple[int, str], Bar] = {}
    for t in sorted(trades):
        second = t.ts_ms // 1000 // interval_s * interval_s
        key = (second, t.market)
        p = t.price
        bar = bars.setdefault(key, Bar(second, t.market, p, p, p, p, 0.0, 0.0, 0, 0, 0.0, 0.0))
        bar.high, bar.low, bar.close = max(bar.high, p), min(bar.low, p), p
        if t.is_buy:
            bar.vbuy += t.notional
            bar.cbuy += 1
        else:
            bar.vsell += t.notional
            bar.csell += 1
    return bars


def assert_same(found: dict[tuple[int, str], Bar], expected: dict[tuple[int, str], Bar]) -> None:
    assert found.keys() == expected.keys()
    for key, bar in expected.items():
        got = found[key]
        assert (got.open, got.high, got.low, got.close) == (bar.open, bar.high, bar.low, bar.close)
        assert (got.cbuy, got.csell) == (bar.cbuy, bar.csell)
        assert math.isclose(got.vbuy, bar.vbuy, rel_tol=1e-9)
        assert math.isclose(got.vsell, bar.vsell, rel_tol=1e-9)


@settings(max_examples=200, deadline=None)
@given(ticks, st.randoms(use_true_random=False), st.sampled_from([1, 5]), st.integers(1, 10))
def test_bars_equal_the_sorted_truth_in_any_order_and_split(
    trades: list[Tick], chance: random.Random, interval_s: int, parts: int
) -> None:
    builder = BarBuilder(interval_s=interval_s, grace_ms=200, keep_s=60)
    builder.advance(T0 * 1000 + 200)
    series = {name: builder.series(name) for name in ("A:x", "B:y")}
    shuffled = chance.sample(trades, len(trades))
    found: dict[tuple[int, str], Bar] = {}
    clock = [chance.randrange(T0 * 1000, T0 * 1000 + 12_000) for _ in range(parts - 1)]
    cuts = [chance.randrange(len(trades) + 1) for _ in range(parts - 1)]
    bounds = [0, *sorted(cuts), len(trades)]
    for now_ms, (start, end) in zip(
        [*sorted(clock), T0 * 1000 + 20_000], pairwise(bounds), strict=True
    ):
        for tick in shuffled[start:end]:
            assert series[tick.market].trade(
                tick.ts_ms, tick.price, tick.notional, tick.is_buy, tick.order
            )
        for closed in builder.advance(now_ms):
            for bar in (*closed.bars, *closed.amended):
                found[bar.time, bar.market] = bar
    assert_same(found, truth(trades, interval_s))


def test_without_an_order_of_the_venue_arrival_decides_within_a_millisecond() -> None:
    builder = BarBuilder()
    series = builder.series("A:x")
    for price in (5.0, 7.0, 6.0):
        series.trade(T0 * 1000 + 5, price, 1.0, True)
    (bar,) = _close(builder, T0)
    assert (bar.open, bar.high, bar.low, bar.close) == (5.0, 7.0, 5.0, 6.0)


def test_a_second_closes_when_its_grace_is_over_and_not_before() -> None:
    builder = BarBuilder(grace_ms=200)
    builder.advance(T0 * 1000 + 500)
    builder.series("A:x").trade(T0 * 1000 + 999, 1.0, 1.0, True)
    assert builder.advance(T0 * 1000 + 1199) == []
    (closed,) = builder.advance(T0 * 1000 + 1200)
    assert (closed.second, len(closed.bars), closed.last_trade_ms) == (T0, 1, T0 * 1000 + 999)


def test_empty_seconds_close_too() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    closed = builder.advance((T0 + 3) * 1000 + 200)
    assert [(c.second, c.bars, c.last_trade_ms) for c in closed] == [
        (T0, [], None),
        (T0 + 1, [], None),
        (T0 + 2, [], None),
    ]


def test_a_late_trade_amends_the_whole_bar_with_the_next_second() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    series.trade(T0 * 1000 + 10, 10.0, 100.0, True)
    builder.advance((T0 + 1) * 1000 + 200)
    series.trade(T0 * 1000 + 5, 9.0, 50.0, False)
    (closed,) = builder.advance((T0 + 2) * 1000 + 200)
    assert closed.amended == [Bar(T0, "A:x", 9.0, 10.0, 9.0, 10.0, 100.0, 50.0, 1, 1, 0.0, 0.0)]
    assert builder.late == 1
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    assert closed.amended == []


def test_trades_older_than_what_is_kept_are_refused_and_counted() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 100) * 1000 + 200)
    series = builder.series("A:x")
    assert not series.trade((T0 + 39) * 1000, 1.0, 1.0, True)
    assert series.trade((T0 + 40) * 1000, 1.0, 1.0, True)
    assert (builder.too_late, builder.late) == (1, 1)


def test_trades_far_ahead_of_the_clock_are_refused_and_counted() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    assert series.trade((T0 + FUTURE_S) * 1000, 1.0, 1.0, True)
    assert not series.trade((T0 + FUTURE_S + 1) * 1000, 1.0, 1.0, True)
    assert builder.ahead == 1


def test_seconds_before_a_market_is_live_are_not_built() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    series.first_s = T0 + 1
    assert not series.trade(T0 * 1000 + 900, 1.0, 1.0, True)
    assert series.trade((T0 + 1) * 1000, 1.0, 1.0, True)
    assert builder.early == 1


def test_forced_orders_move_neither_prices_nor_volumes() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    series.trade(T0 * 1000 + 1, 10.0, 100.0, True)
    series.liquidation(T0 * 1000 + 2, 1.0, 7.0, False)
    series.liquidation(T0 * 1000 + 3, 99.0, 3.0, True)
    assert _close(builder, T0) == [
        Bar(T0, "A:x", 10.0, 10.0, 10.0, 10.0, 100.0, 0.0, 1, 0, 3.0, 7.0)
    ]


def test_a_second_of_forced_orders_alone_stands_at_the_last_close() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    series.trade(T0 * 1000 + 1, 10.0, 100.0, True)
    builder.advance((T0 + 1) * 1000 + 200)
    series.liquidation((T0 + 1) * 1000 + 2, 1.0, 7.0, False)
    flat = Bar(T0 + 1, "A:x", 10.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0, 0, 0.0, 7.0)
    assert _close(builder, T0 + 1) == [flat]
    # It stays there when more of them arrive after the price has moved on.
    series.trade((T0 + 2) * 1000, 20.0, 1.0, True)
    series.liquidation((T0 + 1) * 1000 + 3, 1.0, 1.0, False)
    (closed,) = builder.advance((T0 + 3) * 1000 + 200)
    flat.lsell = 8.0
    assert closed.amended == [flat]


def test_recent_bars_are_the_closed_ones_that_are_kept() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    for second in range(T0, T0 + 3):
        series.trade(second * 1000, 1.0, 1.0, True)
    builder.advance((T0 + 2) * 1000 + 200)
    assert [bar.time for bar in builder.recent(T0, T0 + 9, ["A:x"])] == [T0, T0 + 1]
    assert list(builder.recent(T0, T0 + 9, ["B:y"])) == []
    assert [bar.time for bar in builder.recent(T0 + 1, T0 + 9)] == [T0 + 1]
    builder.advance((T0 + 61) * 1000 + 200)
    assert [bar.time for bar in builder.recent(T0, T0 + 9)] == [T0 + 1, T0 + 2]


def test_memory_is_bounded_by_what_is_kept() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    for second in range(T0, T0 + 500):
        series.trade(second * 1000, 1.0, 1.0, True)
        builder.advance((second + 1) * 1000 + 200)
    assert len(list(builder.recent(0, T0 + 1000))) == 60


@pytest.mark.parametrize("interval_s", [5, 60])
def test_longer_bars_begin_at_multiples_of_their_length(interval_s: int) -> None:
    builder = BarBuilder(interval_s=interval_s)
    base = T0 // interval_s * interval_s
    builder.advance(base * 1000 + 200)
    builder.series("A:x").trade((base + interval_s) * 1000 - 1, 1.0, 1.0, True)
    assert builder.advance((base + interval_s) * 1000 + 199) == []
    (closed,) = builder.advance((base + interval_s) * 1000 + 200)
    assert (closed.second, closed.bars[0].time) == (base, base)


@settings(max_examples=100, deadline=None)
@given(ticks.filter(bool), st.randoms(use_true_random=False))
def test_c18_the_sum_of_bars_equals_the_sum_of_trades(
    trades: list[Tick], chance: random.Random
) -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance(T0 * 1000 + 200)
    series = {name: builder.series(name) for name in ("A:x", "B:y")}
    found: dict[tuple[int, str], Bar] = {}
    for tick in chance.sample(trades, len(trades)):
        series[tick.market].trade(tick.ts_ms, tick.price, tick.notional, tick.is_buy, tick.order)
        _note(found, builder.advance(T0 * 1000 + chance.randrange(12_000)))
    _note(found, builder.advance(T0 * 1000 + 20_000))
    for is_buy, volume, count in ((True, "vbuy", "cbuy"), (False, "vsell", "csell")):
        expected = math.fsum(t.notional for t in trades if t.is_buy is is_buy)
        total = math.fsum(getattr(bar, volume) for bar in found.values())
        assert math.isclose(total, expected, rel_tol=1e-9)
        assert sum(getattr(bar, count) for bar in found.values()) == sum(
            t.is_buy is is_buy for t in trades
        )


def test_c16_one_trade_in_a_hundred_two_seconds_late_ends_in_the_sorted_truth() -> None:
    chance = random.Random(16)
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    trades = [
        Tick(T0 * 1000 + n * 10, n, 100 + chance.random(), chance.random(), chance.random() < 0.5)
        for n in range(1, 2001)
    ]
    arriving = [(t.ts_ms + (2000 if chance.random() < 0.01 else 0), t) for t in trades]
    found: dict[tuple[int, str], Bar] = {}
    for now_ms, tick in sorted(arriving):
        series.trade(tick.ts_ms, tick.price, tick.notional, tick.is_buy, tick.order)
        _note(found, builder.advance(now_ms))
    _note(found, builder.advance(trades[-1].ts_ms + 5000))
    assert builder.late > 5
    assert_same(found, truth(trades))


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=20))
def test_c19_no_second_is_doubled_or_skipped_when_the_clock_jumps(jumps: list[int]) -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    seconds: list[int] = []
    found: dict[tuple[int, str], Bar] = {}
    real_ms = T0 * 1000 + 200
    for jump_ms in [*jumps, 0, 0, 0, 0, 0, 0]:
        series.trade(real_ms, 1.0, 1.0, True)
        closed = builder.advance(real_ms + jump_ms)
        seconds += [c.second for c in closed]
        _note(found, closed)
        real_ms += 1000
    _note(found, last := builder.advance(real_ms + 1000))
    seconds += [c.second for c in last]
    assert seconds == list(range(T0, T0 + len(seconds)))
    assert sum(bar.cbuy for bar in found.values()) == len(jumps) + 6
    assert {bar.cbuy for bar in found.values()} == {1}


def test_trades_that_come_too_late_are_told_by_market_and_second() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 100) * 1000 + 200)
    series = builder.series("A:x")
    for ms in (T0 * 1000, T0 * 1000 + 1, (T0 + 39) * 1000, (T0 + 40) * 1000):
        series.trade(ms, 1.0, 1.0, True)
    assert builder.take_too_late() == [("A:x", T0), ("A:x", T0 + 39)]
    assert builder.take_too_late() == []
    series.first_s = T0 + 1
    series.too_old(T0 * 1000)
    series.too_old(T0 * 1000 + 1000)
    assert builder.take_too_late() == [("A:x", T0 + 1)]


def test_a_forced_order_that_comes_too_late_is_refused_and_told() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 100) * 1000 + 200)
    series = builder.series("A:x")
    assert not series.liquidation(T0 * 1000, 1.0, 5.0, True)
    assert builder.take_too_late() == [("A:x", T0)]
    assert series.forced(T0, T0 + 200) == {}


def test_of_many_that_come_too_late_all_are_counted_and_some_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bars, "REPORTED_TOO_LATE", 2)
    builder = BarBuilder(keep_s=60)
    builder.advance((T0 + 100) * 1000 + 200)
    series = builder.series("A:x")
    for second in range(T0, T0 + 5):
        series.trade(second * 1000, 1.0, 1.0, True)
    assert builder.too_late == 5
    assert builder.take_too_late() == [("A:x", T0), ("A:x", T0 + 1)]


def test_forced_orders_are_known_while_their_second_is_open() -> None:
    builder = BarBuilder()
    builder.advance(T0 * 1000 + 200)
    series, other = builder.series("A:x"), builder.series("B:y")
    other.liquidation(T0 * 1000, 1.0, 3.0, True)
    series.liquidation((T0 + 1) * 1000, 1.0, 5.0, False)
    assert series.forced(T0, T0 + 2) == {T0 + 1: (0.0, 5.0)}
    assert series.forced(T0, T0 + 1) == {}


def test_a_bar_amended_just_before_the_clock_jumps_leaves_with_its_amendment() -> None:
    builder = BarBuilder(keep_s=60)
    builder.advance(T0 * 1000 + 200)
    series = builder.series("A:x")
    series.trade(T0 * 1000, 2.0, 10.0, True)
    builder.advance((T0 + 1) * 1000 + 200)
    series.trade(T0 * 1000 + 1, 3.0, 5.0, False)
    *_, last = builder.advance((T0 + 200) * 1000 + 200)
    assert [(b.time, b.close, b.vbuy, b.vsell) for b in last.amended] == [(T0, 3.0, 10.0, 5.0)]
    assert list(builder.recent(0, T0 + 500)) == []


def _note(found: dict[tuple[int, str], Bar], closed: list[Closed]) -> None:
    for c in closed:
        found.update(((bar.time, bar.market), bar) for bar in (*c.bars, *c.amended))


def _close(builder: BarBuilder, second: int) -> list[Bar]:
    if not builder.next_s:
        builder.advance(second * 1000 + 200)
    (closed,) = builder.advance((second + 1) * 1000 + 200)
    return closed.bars
