"""A jump of a venue's open interest is held back until it lasts."""

from __future__ import annotations

import pytest

from services.core.records import OpenInterest
from services.oi.guard import CODE, CONFIRM_MS, Held, begun, judge, jump, over
from tests.unit.oi.samples import NOW, sample

MINUTE = 60_000


@pytest.mark.parametrize(
    ("coins", "expected"), [(299, False), (300, True), (34, False), (33, True), (100, False)]
)
def test_three_times_as_much_or_as_little_is_a_jump(coins: float, *, expected: bool) -> None:
    assert bool(jump(sample("A", 100), sample("A", coins))) is expected


def test_a_large_contract_that_vanishes_is_a_jump_though_the_venue_does_not_triple() -> None:
    last = sample("A", 100, linear=80, inverse=20)
    assert jump(last, sample("A", 80, linear=80)) == "in inverse from 20 to 0 coins"
    assert jump(last, sample("A", 86, linear=80, inverse=6))
    assert not jump(last, sample("A", 91, linear=80, inverse=11))


def test_a_small_contract_may_come_and_go() -> None:
    assert not jump(sample("A", 100, linear=95, dust=5), sample("A", 95, linear=95))
    assert not jump(sample("A", 95, linear=95), sample("A", 100, linear=95, dust=5))


def test_the_first_value_ever_is_taken() -> None:
    assert judge(None, None, sample("A", 100), NOW) is None


def hold(coins: float, held: Held | None, after_min: float) -> Held | None:
    last = sample("A", 100)
    return judge(last, held, sample("A", coins), NOW + int(after_min * MINUTE))


def test_a_jump_is_believed_after_a_quarter_of_an_hour_and_two_more_samples() -> None:
    held = hold(500, None, 0)
    assert held is not None
    for minute in range(1, 15):
        held = hold(500 + minute, held, minute)
        assert held is not None, f"believed after {minute} min"
    assert hold(515, held, CONFIRM_MS / MINUTE) is None


def test_time_alone_does_not_confirm_a_jump() -> None:
    held = hold(500, None, 0)
    held = hold(500, held, 20)
    assert held is not None
    assert hold(500, held, 21) is None


def test_a_jump_that_moves_on_starts_anew() -> None:
    held = hold(500, None, 0)
    held = hold(5000, held, 14)
    held = hold(5000, held, 15)
    assert held is not None
    assert hold(5000, held, 28) is not None
    assert hold(5000, hold(5000, held, 28), 30) is None


def test_a_value_back_in_range_is_taken_at_once() -> None:
    held = hold(500, None, 0)
    assert hold(101, held, 1) is None


def test_the_alerts_name_the_venue_both_values_and_the_ending() -> None:
    held = hold(500, None, 0)
    assert held is not None
    alert = begun(held, NOW)
    assert (alert.level, alert.code, alert.symbol) == ("warning", CODE, "BTCUSDT")
    assert "BTC at A" in alert.text
    assert "from 100 to 500 coins" in alert.text

    def ending(taken: OpenInterest) -> str:
        told = over(held, taken, NOW)
        assert (told.code, told.level, told.ended_level) == (CODE, "info", "warning")
        return told.text

    assert jump(sample("A", 12_345.6), sample("A", 1.5)) == "from 12,346 to 1.5 coins"
    assert "stayed there" in ending(sample("A", 510))
    assert "back in its range" in ending(sample("A", 105))
