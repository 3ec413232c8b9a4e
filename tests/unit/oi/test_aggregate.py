"""The sum over venues."""

from __future__ import annotations

import pytest

from services.core.records import OpenInterest
from services.oi.aggregate import CARRY_MS, aggregate, change

NOW = 1_732_000_000_000


def sample(exchange: str, coins: float, age_ms: int = 0) -> OpenInterest:
    return OpenInterest(
        exchange=exchange, base="BTC", ts_ms=NOW - age_ms, coins=coins, usd=coins * 2, price=2.0,
        raw=coins, unit="base",
    )  # fmt: skip


def test_all_venues_are_summed() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20)}
    total = aggregate(latest, {"A", "B"}, {"A", "B"}, NOW)
    assert total is not None
    assert (total.coins, total.usd, total.venues) == (30, 60, ("A", "B"))
    assert (total.complete, total.carried, total.missing) == (True, (), ())


def test_O1_a_silent_venue_keeps_its_last_value_and_is_named() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20, age_ms=60_000)}
    total = aggregate(latest, {"A", "B"}, {"A"}, NOW)
    assert total is not None
    assert (total.coins, total.complete, total.carried) == (30, True, ("B",))


def test_O1_a_venue_silent_for_too_long_makes_the_sum_partial() -> None:
    latest = {"A": sample("A", 10), "B": sample("B", 20, age_ms=CARRY_MS + 1)}
    total = aggregate(latest, {"A", "B", "C"}, {"A"}, NOW)
    assert total is not None
    assert (total.coins, total.complete, total.missing) == (10, False, ("B", "C"))


def test_a_venue_that_does_not_list_the_coin_is_not_missed() -> None:
    total = aggregate({"A": sample("A", 10)}, {"A"}, {"A"}, NOW)
    assert total is not None
    assert total.complete


def test_nothing_known_gives_no_sum() -> None:
    assert aggregate({}, {"A"}, set(), NOW) is None


def test_change_compares_only_venues_known_at_both_times() -> None:
    assert change({"A": 11.0, "B": 500.0}, {"A": 10.0, "C": 7.0}) == pytest.approx(0.1)


def test_without_history_there_is_no_change() -> None:
    assert change({"A": 11.0}, {}) is None
