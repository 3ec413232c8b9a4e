from __future__ import annotations

from aggr_server.gaps import GapBook, uncertain_since
from aggr_server.wire import Gap

T0 = 1_700_000_000


def test_trades_under_way_make_the_second_before_the_loss_uncertain() -> None:
    assert uncertain_since(T0 * 1000 + 50) == T0 - 1
    assert uncertain_since(T0 * 1000 + 999) == T0 - 1


def test_a_gap_grows_from_the_same_second_until_it_ends() -> None:
    book = GapBook()
    book.begin(["A:x"], T0, "disconnect")
    assert book.report(T0) == [Gap("A:x", T0, T0 + 1, "disconnect")]
    assert book.report(T0 + 5) == [Gap("A:x", T0, T0 + 6, "disconnect")]
    assert book.end("A:x", (T0 + 6) * 1000 + 400) == T0 + 7
    assert book.report(T0 + 6) == [Gap("A:x", T0, T0 + 7, "disconnect")]
    assert book.report(T0 + 7) == []


def test_the_venues_clock_may_be_ahead_of_ours() -> None:
    book = GapBook()
    book.begin(["A:x"], T0, "start")
    assert book.end("A:x", T0 * 1000 + 499) == T0 + 1
    assert book.end("A:x", T0 * 1000 + 500) == T0 + 2


def test_a_gap_that_is_open_keeps_its_beginning_and_reason() -> None:
    book = GapBook()
    book.begin(["A:x"], T0, "start")
    book.begin(["A:x", "B:y"], T0 + 3, "disconnect")
    assert book.report(T0 + 4) == [
        Gap("A:x", T0, T0 + 5, "start"),
        Gap("B:y", T0 + 3, T0 + 5, "disconnect"),
    ]
    assert book.recorded == 2


def test_gaps_cover_whole_bars() -> None:
    book = GapBook(interval_s=5)
    base = T0 // 5 * 5
    book.begin(["A:x"], base + 2, "start")
    assert book.end("A:x", (base + 11) * 1000) == base + 15
    assert book.report(base + 10) == [Gap("A:x", base, base + 15, "start")]


def test_a_market_no_longer_followed_has_no_gap() -> None:
    book = GapBook()
    book.begin(["A:x"], T0, "start")
    book.forget("A:x")
    assert not book.is_open("A:x")
    assert book.report(T0) == []
