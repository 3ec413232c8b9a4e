"""The result since midnight, from trades that ended and trades that are open."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeezeflow.daily import DAY_MS, DailyLoss

MIDNIGHT = 20_000 * DAY_MS
NOON = MIDNIGHT + DAY_MS // 2


class Book:
    """Trades as a test puts them; `kept` survives a restart."""

    def __init__(self) -> None:
        self.closed: dict[int, tuple[float, int]] = {}
        self.open: set[int] = set()
        self.kept: dict[int, dict[int, float]] = {}

    def end(self, trade_id: int, profit: float, at_ms: int) -> None:
        self.open.discard(trade_id)
        self.closed[trade_id] = (profit, at_ms)

    def closed_since(self, ts_ms: int) -> dict[int, float]:
        return {t: p for t, (p, at_ms) in self.closed.items() if at_ms >= ts_ms}

    def open_ids(self) -> set[int]:
        return self.open

    def carried(self, day: int) -> dict[int, float]:
        return self.kept.get(day, {})

    def carry(self, day: int, profits: Mapping[int, float]) -> None:
        self.kept[day] = dict(profits)


@pytest.fixture
def book() -> Book:
    return Book()


def test_loss_of_ended_trades_is_compared_with_the_equity_at_midnight(book: Book) -> None:
    book.end(1, -60.0, NOON)
    # 940 now, so 1000 at midnight, of which 60 are 6 %.
    assert DailyLoss(book, 0.06).reached(940.0, NOON)
    assert not DailyLoss(book, 0.0601).reached(940.0, NOON)


def test_open_loss_counts_and_gain_makes_up_for_it(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.end(1, -40.0, NOON)
    book.open = {2}
    daily.mark(2, -20.0, NOON)
    assert daily.reached(960.0, NOON)
    daily.mark(2, 5.0, NOON)
    assert not daily.reached(960.0, NOON)
    assert daily.result == -35.0


def test_trade_counts_once_when_it_ends(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.open = {1}
    daily.mark(1, -50.0, NOON)
    assert not daily.reached(1000.0, NOON)
    book.end(1, -52.0, NOON)
    assert not daily.reached(948.0, NOON)
    assert daily.result == -52.0


def test_day_before_is_over(book: Book) -> None:
    book.end(1, -500.0, MIDNIGHT - 1)
    assert not DailyLoss(book, 0.06).reached(500.0, NOON)


def test_what_an_open_trade_brought_before_midnight_belongs_to_the_day_before(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.open = {1}
    daily.mark(1, -100.0, MIDNIGHT - 1000)
    daily.reached(1000.0, MIDNIGHT - 1000)
    daily.mark(1, -110.0, MIDNIGHT + 1000)
    # 1000 in cash and 100 lost in the trade: 900 at midnight, 10 lost since.
    assert not daily.reached(1000.0, MIDNIGHT + 1000)
    assert daily.result == -10.0
    daily.mark(1, -154.1, MIDNIGHT + 2000)
    assert daily.reached(1000.0, MIDNIGHT + 2000)


def test_that_is_known_after_a_restart(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.open = {1}
    daily.mark(1, -100.0, MIDNIGHT - 1000)
    daily.reached(1000.0, MIDNIGHT - 1000)
    daily.reached(1000.0, MIDNIGHT + 1000)
    later = DailyLoss(book, 0.06)
    later.mark(1, -110.0, NOON)
    assert not later.reached(1000.0, NOON)
    assert later.result == -10.0


def test_profit_not_seen_shortly_before_midnight_counts_as_a_whole(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.open = {1}
    daily.mark(1, -100.0, MIDNIGHT - 150_001)
    daily.reached(1000.0, MIDNIGHT - 1000)
    daily.mark(1, -110.0, MIDNIGHT + 1000)
    assert daily.reached(1000.0, MIDNIGHT + 1000)


def test_clock_set_back_over_midnight_keeps_the_day(book: Book) -> None:
    daily = DailyLoss(book, 0.06)
    book.end(1, -60.0, MIDNIGHT + 1000)
    assert daily.reached(940.0, MIDNIGHT + 1000)
    assert daily.reached(940.0, MIDNIGHT - 1000)
    assert book.kept == {}


@given(
    st.lists(st.floats(-100, 100), max_size=5),
    st.lists(st.floats(-100, 100), max_size=5),
    st.floats(500, 2000),
    st.floats(0.01, 0.5),
)
def test_limit_is_that_share_of_the_equity_at_midnight(
    closed: list[float], opened: list[float], at_midnight: float, limit: float
) -> None:
    book = Book()
    daily = DailyLoss(book, limit)
    for number, profit in enumerate(closed):
        book.end(number, profit, NOON)
    for number, profit in enumerate(opened, len(closed)):
        book.open.add(number)
        daily.mark(number, profit, NOON)
    result = sum(closed) + sum(opened)
    if abs(result + limit * at_midnight) < 1e-6:
        return
    expected = result < -limit * at_midnight
    assert daily.reached(at_midnight + sum(closed), NOON) == expected
