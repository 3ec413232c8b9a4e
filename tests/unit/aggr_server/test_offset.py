from __future__ import annotations

from aggr_server.offset import VenueClock

T0 = 1_700_000_000_000


def observed(age_ms: int) -> VenueClock:
    clock = VenueClock()
    for second in range(30):
        now = T0 + second * 1000
        clock.observe(now - age_ms, now)
    return clock


def test_trades_under_way_make_the_second_before_the_loss_uncertain() -> None:
    assert VenueClock().uncertain_since(T0 + 50) == T0 // 1000 - 1
    assert observed(80).uncertain_since(T0 + 1080) == T0 // 1000
    assert observed(80).uncertain_since(T0 + 1079) == T0 // 1000 - 1


def test_a_venue_may_be_a_little_ahead_before_anything_is_known_of_it() -> None:
    assert VenueClock().certain_from(T0 + 499) == T0 // 1000 + 1
    assert VenueClock().certain_from(T0 + 500) == T0 // 1000 + 2


def test_a_venue_whose_clock_is_behind_loses_what_it_dates_earlier() -> None:
    assert observed(5000).uncertain_since(T0) == T0 // 1000 - 6
    assert observed(5000).certain_from(T0) == T0 // 1000 + 1


def test_one_market_that_lags_makes_all_doubtful() -> None:
    clock = observed(80)
    clock.observe(T0 + 30_000, T0 + 30_050, 3000)
    assert clock.uncertain_since(T0 + 30_000) == T0 // 1000 + 26


def test_a_venue_whose_clock_is_ahead_is_complete_later() -> None:
    assert observed(-5000).certain_from(T0) == T0 // 1000 + 6
    assert observed(-5000).uncertain_since(T0) == T0 // 1000 - 1


def test_old_trades_say_nothing_of_the_clock() -> None:
    clock = observed(100)
    for second in range(31, 600):
        clock.observe(T0 + 29_000 - 100, T0 + second * 1000)
    assert clock.uncertain_since(T0 + 600_000) == T0 // 1000 + 598
