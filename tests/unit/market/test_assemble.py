from hypothesis import given
from hypothesis import strategies as st

from aggr_server.wire import FORCED_ORDERS_ONLY, Bar, ClosedSecond, Gap
from services.market.assemble import KEEP_S, Assembler, Span

T = 1_000_000


def bar(t: int, buy: float = 1.0, sell: float = 0.0, market: str = "A:btc") -> Bar:
    return Bar(t, market, 1.0, 1.0, 1.0, 1.0, buy, sell, 1, 1, 0.0, 0.0)


def message(
    t: int, seq: int, *bars: Bar, collector: str = "c1", epoch: str = "e", **more: object
) -> ClosedSecond:
    found = ClosedSecond(collector, epoch, seq, t, (t + 1) * 1000 + 200, None, list(bars))
    for name, value in more.items():
        setattr(found, name, value)
    return found


def assembler() -> Assembler:
    return Assembler(lambda market: "BTC" if market.endswith("btc") else None)


def test_second_is_handed_out_when_every_collector_has_reported() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T)))
    a.offer(message(T, 1, bar(T, market="B:btc"), collector="c2"))
    first = a.take(0)
    assert [c.t for c in first] == [T]
    assert set(first[0].bars["BTC"]) == {"A:btc", "B:btc"}
    a.offer(message(T + 1, 2, bar(T + 1)))
    assert a.take(0) == []
    a.offer(message(T + 1, 2, collector="c2"))
    assert [c.t for c in a.take(0)] == [T + 1]


def test_second_is_handed_out_by_the_clock_and_names_who_is_silent() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T)))
    a.offer(message(T, 1, bar(T, market="B:btc"), collector="c2"))
    a.take(0)
    a.offer(message(T + 1, 2, bar(T + 1)))
    due = a.due_ms()
    assert due == (T + 2) * 1000 + 500
    assert a.take(due - 1) == []
    (closed,) = a.take(due)
    assert closed.silent == {"B:btc"}


def test_every_second_comes_once_and_in_order_even_without_messages() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T)))
    assert [c.t for c in a.take((T + 4) * 1000)] == [T, T + 1, T + 2]


def test_volume_known_late_goes_into_the_next_second() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T, 5.0, 2.0)))
    a.take(0)
    a.offer(message(T + 1, 2, bar(T + 1), amended=[bar(T, 6.0, 2.5)]))
    (closed,) = a.take(0)
    assert closed.late["BTC"]["A:btc"] == (1.0, 0.5)
    a.merge([bar(T, 6.0, 2.5)])
    a.offer(message(T + 2, 3))
    assert a.take(0)[0].late == {}


def test_a_hole_in_the_sequence_is_to_be_read_back() -> None:
    a = assembler()
    assert a.offer(message(T, 1)) is None
    assert a.offer(message(T + 1, 2)) is None
    assert a.offer(message(T + 5, 6)) == Span(T + 1, T + 5)
    assert a.offer(message(T + 5, 6)) is None


def test_a_restarted_collector_leaves_a_hole_only_if_seconds_are_missing() -> None:
    a = assembler()
    a.offer(message(T, 7))
    assert a.offer(message(T + 1, 1, epoch="f")) is None
    assert a.offer(message(T + 9, 1, epoch="g")) == Span(T + 1, T + 9)


def test_seconds_in_a_recorded_gap_are_silent() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T), gaps=[Gap("A:btc", T, T + 1, "start")]))
    a.offer(message(T + 1, 2, bar(T + 1)))
    first, second = a.take(0)
    assert first.silent == {"A:btc"}
    assert second.silent == frozenset()


def test_a_later_record_of_a_gap_replaces_the_earlier_one() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T), gaps=[Gap("A:btc", T, T + 2, "disconnect")]))
    a.offer(message(T + 1, 2, bar(T + 1), gaps=[Gap("A:btc", T, T, "disconnect")]))
    assert [second.silent for second in a.take(0)] == [frozenset(), frozenset()]


def test_a_long_gap_that_was_filled_makes_what_was_handed_out_outdated() -> None:
    a = assembler()
    a.start_at(T)
    for to_s in (T + 5, T + 60):
        a.add_gap(Gap("A:btc", T, to_s, "reconnect"))
    a.take(0, complete_to=T + 60)
    a.add_gap(Gap("A:btc", T, T + 55, "reconnect"))
    assert a.outdated == set()
    a.add_gap(Gap("A:btc", T, T, "reconnect"))
    assert a.outdated == {"BTC"}


def test_a_change_too_late_to_be_compared_makes_what_was_handed_out_outdated() -> None:
    a = assembler()
    a.start_at(T)
    while a.next_t is not None and a.next_t < T + KEEP_S + 10:
        a.take(0, complete_to=T + KEEP_S + 10)
    a.merge([bar(T + 300)])
    assert a.outdated == set()
    a.merge([bar(T)])
    assert (a.outdated, a.lost_bars) == ({"BTC"}, 1)


def test_missing_forced_orders_do_not_silence_a_market() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T), gaps=[Gap("A:btc", T, T + 1, FORCED_ORDERS_ONLY)]))
    assert a.take(0)[0].silent == frozenset()


def test_seconds_from_the_database_without_any_bar_are_unknown_not_quiet() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T)))
    a.take(0)
    a.merge([bar(T + 1)])
    quiet, unknown = a.take(0, complete_to=T + 3)
    assert quiet.silent == frozenset()
    assert unknown.silent == {"A:btc"}


def test_markets_that_take_no_part_are_left_out() -> None:
    a = assembler()
    a.offer(message(T, 1, bar(T, market="A:doge")))
    assert a.take(0)[0].bars == {}


@given(st.permutations(range(8)), st.integers(1, 4))
def test_the_sum_of_volume_does_not_depend_on_the_order_of_arrival(
    order: list[int], every: int
) -> None:
    a = assembler()
    a.start_at(T)
    total = 0.0
    for n, i in enumerate(order):
        a.merge([bar(T + i, float(2**i))])
        if n % every == 0:
            total += _sum(a, T + n // every)
    total += _sum(a, T + 20)
    assert total == 2.0**8 - 1


def _sum(a: Assembler, upto: int) -> float:
    closed = a.take(0, complete_to=upto)
    own = sum(b.vbuy for c in closed for bars in c.bars.values() for b in bars.values())
    return own + sum(v.buy for c in closed for late in c.late.values() for v in late.values())
