"""The sum over venues."""

from __future__ import annotations

import pytest

from services.oi.aggregate import CARRY_MS, aggregate, change, detailed
from tests.unit.oi.samples import NOW, sample


def test_all_venues_are_summed() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20)}
    total = aggregate(latest, {"A", "B"}, {"A": "fresh", "B": "fresh"}, NOW)
    assert total is not None
    assert (total.coins, total.usd, total.venues) == (30, 60, ("A", "B"))
    assert (total.complete, total.carried, total.held, total.missing) == (True, (), (), ())


def test_O1_a_silent_venue_keeps_its_last_value_and_is_named() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20, age_ms=60_000)}
    total = aggregate(latest, {"A", "B"}, {"A": "fresh", "B": "carried"}, NOW)
    assert total is not None
    assert (total.coins, total.complete, total.carried) == (30, True, ("B",))


def test_a_venue_whose_jump_is_held_counts_with_its_old_value() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20, age_ms=60_000)}
    total = aggregate(latest, {"A", "B"}, {"A": "fresh", "B": "held"}, NOW)
    assert total is not None
    assert (total.coins, total.carried, total.held) == (30, (), ("B",))


def test_O1_a_venue_silent_for_too_long_makes_the_sum_partial() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20, age_ms=CARRY_MS + 1)}
    total = aggregate(latest, {"A", "B", "C"}, {"A": "fresh"}, NOW)
    assert total is not None
    assert (total.coins, total.complete, total.missing) == (10, False, ("B", "C"))


def test_a_venue_that_is_not_asked_is_not_summed() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20)}
    total = aggregate(latest, {"A"}, {"A": "fresh", "B": "fresh"}, NOW)
    assert total is not None
    assert (total.venues, total.complete) == (("A",), True)


def test_nothing_known_gives_no_sum() -> None:
    assert aggregate({}, {"A"}, {}, NOW) is None


def test_change_compares_only_venues_known_at_both_times() -> None:
    assert change({"A": 11.0, "B": 500.0}, {"A": 10.0, "C": 7.0}) == pytest.approx(0.1)


def test_without_history_there_is_no_change() -> None:
    assert change({"A": 11.0}, {}) is None


def test_the_published_sum_shows_each_venue_with_its_age_and_change() -> None:
    latest = {"A": sample("A", 12), "B": sample("B", 20, age_ms=60_000)}
    total = aggregate(latest, {"A", "B", "C"}, {"A": "fresh", "B": "held"}, NOW)
    assert total is not None
    shown = detailed("BTC", total, latest, {"A": 10.0, "C": 5.0}, NOW)
    assert (shown.base, shown.ts_ms, shown.missing) == ("BTC", NOW, ["C"])
    assert (shown.coins, shown.usd) == (32, 64)
    assert shown.change_24h == pytest.approx(0.2)
    a, b = shown.venues
    assert (a.exchange, a.coins, a.usd, a.price, a.ts_ms) == ("A", 12, 24, 2, NOW)
    assert a.change_24h == pytest.approx(0.2)
    assert (a.carried, a.held) == (False, False)
    assert (b.ts_ms, b.change_24h, b.carried, b.held) == (NOW - 60_000, None, False, True)
