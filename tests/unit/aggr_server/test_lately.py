from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aggr_server import lately
from aggr_server.lately import GapLog, Rates
from aggr_server.wire import Bar, Gap


def bar(second: int, market: str, trades: int) -> Bar:
    return Bar(second, market, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, trades, 0, 0.0, 0.0)


def test_no_trades_are_no_rate() -> None:
    rates = Rates()
    assert rates.of("A:x") == 0.0
    rates.add(100, [])
    assert rates.of("A:x") == 0.0


def test_at_first_the_rate_is_of_what_is_known() -> None:
    rates = Rates()
    rates.add(100, [bar(100, "A:x", 8)])
    rates.add(101, [bar(101, "A:x", 2), bar(101, "B:y", 4)])
    assert (rates.of("A:x"), rates.of("B:y")) == (5.0, 2.0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200))
def test_the_rate_is_that_of_the_last_minute(counts: list[int]) -> None:
    rates = Rates()
    for second, count in enumerate(counts):
        rates.add(second, [bar(second, "A:x", count)] if count else [])
    last = counts[-60:]
    assert rates.of("A:x") == sum(last) / len(last)


def test_bars_of_forced_orders_alone_count_nothing() -> None:
    rates = Rates()
    for second in range(200):
        rates.add(second, [bar(second, "A:x", 1 if second == 3 else 0)])
    assert rates.of("A:x") == 0.0


def test_seconds_that_are_left_out_count_as_time() -> None:
    rates = Rates()
    rates.add(100, [bar(100, "A:x", 30)])
    rates.add(109, [])
    assert rates.of("A:x") == 3.0


def test_a_later_report_of_a_gap_replaces_the_earlier_one() -> None:
    log = GapLog()
    log.add([Gap("A:x", 10, 12, "down"), Gap("A:x", 5, 6, "jump"), Gap("B:y", 1, 2, "down")])
    log.add([Gap("A:x", 10, 15, "down")])
    assert log.of("A:x", 20) == [Gap("A:x", 5, 6, "jump"), Gap("A:x", 10, 15, "down")]
    log.add([Gap("A:x", 10, 10, "down")])
    assert log.of("A:x", 20) == [Gap("A:x", 5, 6, "jump")]
    assert log.of("C:z", 20) == []


def test_gaps_are_forgotten_after_a_day_and_when_there_are_too_many() -> None:
    log = GapLog()
    log.add([Gap("A:x", 10, 20, "down"), Gap("A:x", 500, 600, "down")])
    assert len(log.of("A:x", 20 + lately.GAPS_S - 1)) == 2
    assert log.of("A:x", 20 + lately.GAPS_S) == [Gap("A:x", 500, 600, "down")]
    log.add([Gap("A:x", second, second + 1, "jump") for second in range(1000, 2000, 2)])
    assert len(log.of("A:x", 2000)) == lately.MAX_GAPS
    assert log.of("A:x", 2000)[-1].from_s == 1998
