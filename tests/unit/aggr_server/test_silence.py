from __future__ import annotations

from itertools import pairwise

from aggr_server.silence import (
    BLIND_MAX_S,
    BLIND_MIN_S,
    FIRST_S,
    MAX_S,
    MIN_S,
    SPARSE_MIN_S,
    UNSURE_S,
    Rate,
    Watch,
)


def watch_at(per_s: float, seconds: int, *, sparse: bool = False) -> Watch:
    """A stream that sent `per_s` events a second for `seconds`, until just now."""
    watch = Watch(sparse=sparse)
    watch.begin(0.0)
    sent = 0
    for now in range(1, seconds + 1):
        due = int(now * per_s)
        watch.observe(float(now), 1.0, due - sent)
        sent = due
    return watch


def suspected_after(watch: Watch, start_s: float) -> int:
    """Whole seconds of silence until it is suspected."""
    for quiet in range(1, 10_000):
        watch.observe(start_s + quiet, 1.0, 0)
        if watch.suspicion(start_s + quiet) >= 1.0:
            return quiet
    return 10_000


def test_the_busiest_are_suspected_first() -> None:
    assert suspected_after(watch_at(10.0, 120), 120) <= MIN_S + 1


def test_every_market_with_a_trade_in_fifteen_seconds_is_suspected_within_a_minute() -> None:
    for per_s in (0.07, 0.1, 0.2, 0.5, 1.0, 2.0):
        assert suspected_after(watch_at(per_s, 600), 600) <= 54


def test_a_slow_market_is_asked_about_only_after_several_mean_distances() -> None:
    assert 170 <= suspected_after(watch_at(1 / 60, 3600), 3600) <= 240


def test_one_that_sends_nothing_at_all_is_suspected_at_once_and_then_less_and_less() -> None:
    watch = Watch()
    watch.begin(0.0)
    assert watch.suspicion(FIRST_S - 0.1) < 1.0 <= watch.suspicion(FIRST_S)
    asked, now = [], 0
    while now < 4 * 3600:
        now += 1
        watch.observe(float(now), 1.0, 0)
        if watch.suspicion(float(now)) >= 1.0:
            watch.asked(float(now))
            asked.append(now)
    distances = [b - a for a, b in pairwise(asked)]
    assert distances == sorted(distances)
    assert distances[-1] <= MAX_S + 1
    assert len([t for t in asked if t <= 1800]) <= 8


def test_history_that_follows_the_confirmation_proves_nothing() -> None:
    watch = Watch()
    watch.begin(0.0)
    watch.observe(1.0, 1.0, 1000)
    assert not watch.heard
    assert watch.rate.per_s == 0.0
    assert watch.suspicion(FIRST_S) >= 1.0


def test_a_new_connection_starts_the_silence_anew_and_keeps_the_rate() -> None:
    watch = watch_at(10.0, 120)
    watch.begin(1000.0)
    assert watch.suspicion(1001.0) < 1.0
    assert watch.rate.established
    assert watch.suspicion(1000.0 + FIRST_S) >= 1.0


def test_one_burst_establishes_no_rate() -> None:
    rate = Rate()
    for second in range(60):
        rate.observe(1.0, 500 if second == 5 else 0)
    assert rate.per_s > 1
    assert not rate.established


def test_the_rate_follows_what_changes() -> None:
    rate = Rate()
    for _ in range(600):
        rate.observe(1.0, 10)
    assert 9.9 < rate.per_s < 10.1
    for _ in range(3000):
        rate.observe(1.0, 1)
    assert 0.9 < rate.per_s < 1.2


def test_where_nobody_can_be_asked_the_learned_rate_decides() -> None:
    busy = watch_at(10.0, 120)
    assert not busy.is_mute_by_rate(120 + BLIND_MIN_S)
    assert busy.is_mute_by_rate(120 + BLIND_MIN_S + 1)
    slow = watch_at(0.5, 600)
    assert not slow.is_mute_by_rate(600 + 35)
    assert slow.is_mute_by_rate(600 + 45)
    assert not watch_at(0.01, 1500).is_mute_by_rate(10_000)


def test_each_fruitless_restart_makes_the_next_one_wait_longer() -> None:
    watch = watch_at(10.0, 120)
    first = watch.blind_s()
    watch.restarted()
    watch.restarted()
    assert watch.blind_s() == 4 * first
    watch.observe(130.0, 1.0, 1)
    assert watch.blind_s() == first
    for _ in range(100):
        watch.restarted()
    assert watch.blind_s() <= 64 * BLIND_MAX_S


def test_forced_orders_are_judged_by_an_established_rate_only() -> None:
    rare = watch_at(0.01, 1500, sparse=True)
    assert rare.suspicion(100_000.0) == 0.0
    frequent = watch_at(1.0, 120, sparse=True)
    assert frequent.suspicion(120 + SPARSE_MIN_S - 1) < 1.0
    assert frequent.suspicion(120 + 31 + SPARSE_MIN_S) >= 1.0


def test_forced_orders_may_pause_as_they_have_paused_before() -> None:
    watch = Watch(sparse=True)
    watch.begin(0.0)
    for now in range(3, 2000):
        clustered = now % 400 < 40
        watch.observe(float(now), 1.0, 5 if clustered else 0)
        assert watch.suspicion(float(now)) < 1.0 or now < 400
    assert watch.suspicion(1639.0 + 3 * 361 - 1) < 1.0
    assert watch.suspicion(1639.0 + 3 * 361) >= 1.0


def test_a_market_heard_but_hardly_known_is_given_some_time() -> None:
    watch = watch_at(2.0, 5)
    assert suspected_after(watch, 5) == UNSURE_S
