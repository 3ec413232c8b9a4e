from __future__ import annotations

import random

import msgspec
import pytest

from aggr_server.gaps import MAX_SPANS, GapBook, Span
from aggr_server.wire import FORCED_ORDERS_ONLY, Gap

T0 = 1_700_000_000
X = "A:x"


def recorded(reports: list[list[Gap]]) -> dict[str, set[int]]:
    """What a reader holds after `reports`: seconds by reason."""
    latest = {(g.market, g.reason, g.from_s): g for report in reports for g in report}
    seconds: dict[str, set[int]] = {}
    for gap in latest.values():
        seconds.setdefault(gap.reason, set()).update(range(gap.from_s, gap.to_s))
    return {reason: found for reason, found in seconds.items() if found}


def test_a_gap_grows_from_the_same_second_until_it_ends() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    assert book.report(T0) == [Gap(X, T0, T0 + 1, "disconnect")]
    assert book.report(T0 + 5) == [Gap(X, T0, T0 + 6, "disconnect")]
    assert book.end(X, "trades", T0 + 7) == T0 + 7
    assert book.report(T0 + 6) == [Gap(X, T0, T0 + 7, "disconnect")]
    assert book.report(T0 + 7) == []


def test_a_gap_that_is_open_keeps_its_beginning_and_reason() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "start")
    book.begin(X, "trades", T0 + 3, "disconnect")
    book.begin("B:y", "trades", T0 + 3, "disconnect")
    assert book.report(T0 + 4) == [
        Gap(X, T0, T0 + 5, "start"),
        Gap("B:y", T0 + 3, T0 + 5, "disconnect"),
    ]
    assert book.recorded == 2


def test_forced_orders_have_gaps_of_their_own() -> None:
    book = GapBook()
    book.begin(X, "liquidations", T0, "silence")
    assert book.report(T0) == [Gap(X, T0, T0 + 1, FORCED_ORDERS_ONLY)]
    assert not book.is_open(X)
    assert book.is_open(X, "liquidations")
    book.end(X, "liquidations", T0 + 2)
    assert book.pending(X) == []


def test_gaps_cover_whole_bars() -> None:
    book = GapBook(interval_s=5)
    base = T0 // 5 * 5
    book.begin(X, "trades", base + 2, "start")
    assert book.end(X, "trades", base + 11) == base + 15
    assert book.report(base + 10) == [Gap(X, base, base + 15, "start")]
    book.add(X, "trades", base + 16, base + 17, "late")
    assert book.report(base + 15) == [Gap(X, base + 15, base + 20, "late")]


def test_what_is_fetched_is_reported_once_the_bars_are_handed_out() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    book.end(X, "trades", T0 + 10)
    reports = [book.report(T0 + 9)]
    book.fetched(X, "trades", T0 + 4, T0 + 10)
    assert book.pending(X) == [], "nobody is to fetch it again meanwhile"
    assert [s.to_s for s in book.spans()] == [T0 + 10]
    reports.append(book.report(T0 + 10))
    assert recorded(reports) == {"disconnect": set(range(T0, T0 + 10))}
    book.settle()
    reports.append(book.report(T0 + 11))
    assert recorded(reports) == {"disconnect": set(range(T0, T0 + 4))}
    book.fetched(X, "trades", T0, T0 + 4)
    book.settle()
    assert book.report(T0 + 12) == [Gap(X, T0, T0, "disconnect")]
    assert list(book.spans()) == []
    assert book.fetched_s == 10


def test_the_middle_of_a_gap_may_be_fetched_before_the_rest() -> None:
    book = GapBook()
    book.add(X, "trades", T0, T0 + 10, "jump")
    book.fetched(X, "trades", T0 + 3, T0 + 6)
    book.settle()
    left = {T0, T0 + 1, T0 + 2, *range(T0 + 6, T0 + 10)}
    assert recorded([book.report(T0 + 11)]) == {"jump": left}
    assert [(s.from_s, s.to_s) for s in book.pending(X)] == [(T0 + 6, T0 + 10), (T0, T0 + 3)]


def test_a_gap_that_comes_back_before_it_was_fetched_goes_on() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    book.end(X, "trades", T0 + 5)
    book.begin(X, "trades", T0 + 4, "silence")
    assert book.report(T0 + 6) == [
        Gap(X, T0, T0 + 5, "disconnect"),
        Gap(X, T0, T0 + 7, "disconnect"),
    ]
    # What was fetched of the first part meanwhile is complete all the same.
    book.fetched(X, "trades", T0, T0 + 5)
    book.settle()
    assert book.report(T0 + 7) == [
        Gap(X, T0, T0, "disconnect"),
        Gap(X, T0 + 5, T0 + 8, "disconnect"),
    ]
    assert book.is_open(X)


def test_losses_inside_a_gap_add_nothing_and_those_beside_it_their_own_part() -> None:
    book = GapBook()
    book.add(X, "trades", T0 + 5, T0 + 10, "jump")
    book.add(X, "trades", T0 + 6, T0 + 8, "late")
    book.add(X, "trades", T0 + 3, T0 + 12, "late")
    book.begin(X, "trades", T0 + 20, "silence")
    book.add(X, "trades", T0 + 18, T0 + 21, "jump")
    assert recorded([book.report(T0 + 20)]) == {
        "jump": {*range(T0 + 5, T0 + 10), T0 + 18, T0 + 19},
        "late": {T0 + 3, T0 + 4, T0 + 10, T0 + 11},
        "silence": {T0 + 20},
    }


def test_what_is_given_up_stays_recorded_and_is_not_fetched_any_more() -> None:
    book = GapBook()
    book.add(X, "trades", T0, T0 + 10, "down")
    book.give_up(X, "trades", T0 + 4)
    assert [(s.from_s, s.to_s) for s in book.pending(X)] == [(T0 + 4, T0 + 10)]
    book.fetched(X, "trades", T0 + 4, T0 + 10)
    book.settle()
    assert recorded([book.report(T0 + 11)]) == {"down": set(range(T0, T0 + 4))}
    # Should it be rebuilt after all, as part of a later loss, no record is left behind.
    book.fetched(X, "trades", T0 + 2, T0 + 4)
    book.settle()
    assert recorded([book.report(T0 + 12)]) == {"down": {T0, T0 + 1}}


def test_giving_up_the_beginning_of_an_open_gap_leaves_it_open() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    book.give_up(X, "trades", T0 + 100)
    assert book.is_open(X)
    book.end(X, "trades", T0 + 200)
    assert [(s.from_s, s.to_s) for s in book.pending(X)] == [(T0 + 100, T0 + 200)]
    assert recorded([book.report(T0 + 200)]) == {"disconnect": set(range(T0, T0 + 200))}


def test_a_market_no_longer_followed_keeps_its_record_and_gets_no_more() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    book.close(X, T0 + 9)
    assert book.report(T0 + 9) == [Gap(X, T0, T0 + 9, "disconnect")]
    assert book.report(T0 + 10) == []
    assert not book.is_open(X)
    assert list(book.spans()) == []


def test_a_restart_takes_up_every_gap_where_it_was() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    book.add("B:y", "trades", T0, T0 + 5, "jump")
    kept = msgspec.json.decode(msgspec.json.encode(list(book.spans())), type=list[Span])
    again = GapBook()
    again.restore(kept)
    again.begin(X, "trades", T0 + 50, "down")
    assert recorded([again.report(T0 + 60)]) == {
        "disconnect": set(range(T0, T0 + 61)),
        "jump": set(range(T0, T0 + 5)),
    }
    assert [s.market for s in again.pending("B:y")] == ["B:y"]


def test_every_change_is_a_new_version_and_passing_time_is_none() -> None:
    book = GapBook()
    book.begin(X, "trades", T0, "disconnect")
    version = book.version
    book.report(T0 + 1)
    book.report(T0 + 2)
    assert book.version == version
    book.end(X, "trades", T0 + 3)
    assert book.version > version


def test_old_gaps_are_forgotten_and_open_ones_are_not() -> None:
    book = GapBook()
    book.add(X, "trades", T0, T0 + 2, "jump")
    book.begin(X, "trades", T0 + 9, "disconnect")
    book.forget(T0 + 1000)
    assert [s.from_s for s in book.spans()] == [T0 + 9]


def test_ever_more_gaps_become_one_instead_of_filling_the_memory() -> None:
    book = GapBook()
    reports = []
    for n in range(MAX_SPANS + 50):
        book.add(X, "trades", T0 + 3 * n, T0 + 3 * n + 1, "jump")
        reports.append(book.report(T0 + 3 * n))
    assert len(list(book.spans())) == MAX_SPANS
    lost = {T0 + 3 * n for n in range(MAX_SPANS + 50)}
    assert lost <= recorded(reports)["jump"]


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_no_second_is_both_fetched_and_recorded(seed: int) -> None:
    dice = random.Random(seed)
    book, reports = GapBook(), []
    missing: set[int] = set()
    now, is_open = T0, False
    for _ in range(40):
        step = dice.randint(1, 4)
        if is_open:
            missing.update(range(now + 1, now + step + 1))
        now += step
        what = dice.random()
        if what < 0.25 and not is_open:
            from_s = now - dice.randint(0, 3)
            book.begin(X, "trades", from_s, dice.choice(["disconnect", "silence"]))
            missing.update(range(from_s, now + 1))
            is_open = True
        elif what < 0.5 and is_open:
            book.end(X, "trades", now + 1)
            is_open = False
        elif what < 0.7:
            from_s = now - dice.randint(1, 20)
            to_s = min(now + 1, from_s + dice.randint(1, 8))
            book.add(X, "trades", from_s, to_s, "jump")
            missing.update(range(from_s, to_s))
        elif what < 0.95 and (found := book.pending(X)):
            span = dice.choice(found)
            cut = dice.randint(span.from_s, span.to_s)
            book.fetched(X, "trades", cut, span.to_s)
            book.settle()
            missing -= set(range(cut, span.to_s))
        else:
            book.give_up(X, "trades", now - dice.randint(0, 30))
        reports.append(book.report(now))
    held: set[int] = set().union(*recorded(reports).values())
    assert held == missing
