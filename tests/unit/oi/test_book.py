"""The newest value of every venue, and what is known about its absence."""

from __future__ import annotations

import pytest

from services.market.history import OI_KNOWN_AFTER_S
from services.oi.book import DELISTED_MS, PROMPT_MS, STALE_MS, Book, summed
from services.oi.guard import Held
from tests.unit.oi.samples import NOW, contract, found, sample

MINUTE = 60_000


def test_a_venues_perpetuals_are_summed_at_their_mean_price_and_the_time_of_the_largest() -> None:
    dead = contract("BTCUSD", 10, age_ms=9_000_000)
    whole = summed("A", "BTC", [dead, contract("BTCUSDT", 30, age_ms=500)], NOW)
    assert (whole.coins, whole.usd, whole.price, whole.ts_ms) == (40, 80, 2, NOW - 500)
    assert (whole.raw, whole.unit) == (None, None)
    assert [part.contract for part in whole.contracts] == ["BTCUSD", "BTCUSDT"]
    single = summed("A", "BTC", [contract("BTCUSDT", 30)], NOW)
    assert (single.raw, single.unit) == (30, "base")


@pytest.mark.parametrize(
    ("age_ms", "expected"), [(0, 0), (4000, 4000), (60_000, PROMPT_MS), (STALE_MS, PROMPT_MS)]
)
def test_a_sample_is_never_known_later_than_its_time_says(age_ms: int, expected: int) -> None:
    whole = summed("A", "BTC", [contract("BTCUSDT", 30, age_ms)], NOW)
    assert NOW - whole.ts_ms == expected
    assert PROMPT_MS < OI_KNOWN_AFTER_S * 1000
    assert whole.contracts[0].ts_ms == NOW - age_ms


def test_what_a_poll_brings_is_news_once() -> None:
    book = Book(["A"])
    assert book.take("A", found(BTC=10), NOW) == {}
    fresh, alerts = book.news()
    assert [(s.exchange, s.coins) for s in fresh] == [("A", 10)]
    assert alerts == []
    assert book.news() == ([], [])
    assert book.states("BTC") == {"A": "fresh"}


def test_O1_a_failed_poll_carries_the_last_values_of_that_venue_alone() -> None:
    book = Book(["A", "B"])
    book.take("A", found(BTC=10), NOW)
    book.take("B", found(BTC=20), NOW)
    book.fail("B")
    assert book.states("BTC") == {"A": "fresh", "B": "carried"}
    assert book.latest["BTC"]["B"].coins == 20


def test_a_base_that_cannot_be_read_is_carried_and_named() -> None:
    book = Book(["A"])
    book.take("A", found(BTC=10), NOW)
    broken = found()
    broken.problems["BTC"] = "oi is missing"
    assert book.take("A", broken, NOW) == {"BTC": "oi is missing"}
    assert book.states("BTC") == {"A": "carried"}


def test_a_venue_that_never_listed_a_base_is_not_expected() -> None:
    book = Book(["A", "B"])
    assert book.expected("BTC") == {"A", "B"}
    assert book.take("A", found(), NOW) == {}
    assert book.expected("BTC") == {"B"}
    book.take("A", found(BTC=1), NOW)
    assert book.expected("BTC") == {"A", "B"}


def test_O1_a_venue_whose_answer_lacks_a_base_suddenly_is_still_expected() -> None:
    book = Book(["A"])
    book.take("A", found(BTC=10), NOW)
    assert "no longer" in book.take("A", found(), NOW + MINUTE)["BTC"]
    assert book.expected("BTC") == {"A"}
    assert book.latest["BTC"]["A"].coins == 10
    assert book.take("A", found(), NOW + DELISTED_MS + 1) == {}
    assert book.expected("BTC") == set()
    assert book.latest["BTC"] == {}


def test_a_jump_is_neither_news_nor_believed_and_told_once() -> None:
    book = Book(["A"])
    book.take("A", found(BTC=100), NOW)
    book.news()
    for minute in (1, 2, 3):
        book.take("A", found(BTC=400), NOW + minute * MINUTE)
        assert book.states("BTC") == {"A": "held"}
        assert book.latest["BTC"]["A"].coins == 100
    fresh, alerts = book.news()
    assert fresh == []
    assert [alert.ended_level for alert in alerts] == [""]
    book.take("A", found(BTC=102), NOW + 4 * MINUTE)
    fresh, alerts = book.news()
    assert [s.coins for s in fresh] == [102]
    assert [alert.ended_level for alert in alerts] == ["warning"]
    assert book.held["BTC"] == {}


def test_a_failed_poll_during_a_jump_leaves_it_held() -> None:
    book = Book(["A"])
    book.take("A", found(BTC=100), NOW)
    book.take("A", found(BTC=400), NOW)
    book.fail("A")
    assert book.states("BTC") == {"A": "held"}


def test_a_jump_that_lasts_is_taken() -> None:
    book = Book(["A"])
    book.take("A", found(BTC=100), NOW)
    for minute in range(1, 17):
        book.take("A", found(BTC=400), NOW + minute * MINUTE)
    assert book.latest["BTC"]["A"].coins == 400
    assert [alert.ended_level for alert in book.news()[1]] == ["", "warning"]


def test_a_stale_value_is_taken_and_named() -> None:
    book = Book(["A"])
    problems = book.take("A", found(BTC=1, age_ms=STALE_MS + 1000), NOW)
    assert problems == {"BTC": "the venue's value is 901 s old"}
    assert book.latest["BTC"]["A"].coins == 1


def test_after_a_restart_the_guard_knows_what_was_before() -> None:
    book = Book(["A"])
    held = Held(
        sample=sample("A", 400), before=100, what="up", since_ms=NOW - 14 * MINUTE, confirmed=5
    )
    book.remember([sample("A", 100), sample("GONE", 7)], [held])
    assert book.latest["BTC"].keys() == {"A"}
    assert book.states("BTC") == {"A": "carried"}
    book.take("A", found(BTC=400), NOW)
    assert book.news() == ([], []), "the jump was told before the restart"
    book.take("A", found(BTC=400), NOW + 2 * MINUTE)
    assert book.latest["BTC"]["A"].coins == pytest.approx(400)
