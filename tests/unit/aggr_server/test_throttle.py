from __future__ import annotations

import time

from aggr_server.throttle import Backoff, Budget, Occasionally, Pacer


def test_delays_stay_under_a_bound_that_doubles_up_to_the_cap() -> None:
    for _ in range(50):
        backoff = Backoff(base_s=1.0, cap_s=60.0)
        for bound in (1, 2, 4, 8, 16, 32, 60, 60, 60):
            assert 0 <= backoff.next() <= bound


def test_delays_are_spread() -> None:
    assert len({Backoff().next() for _ in range(20)}) > 10


def test_success_starts_over() -> None:
    backoff = Backoff(base_s=1.0)
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1.0


def test_a_key_passes_once_in_its_time() -> None:
    occasionally = Occasionally(60.0)
    assert occasionally("a")
    assert not occasionally("a")
    assert occasionally("b")
    assert Occasionally(0.0)("a")


async def test_turns_are_spaced() -> None:
    pacer = Pacer(0.02)
    started = time.monotonic()
    for _ in range(3):
        await pacer.turn()
    assert time.monotonic() - started >= 0.04


def test_a_budget_allows_a_burst_and_then_a_rate() -> None:
    budget = Budget(3, refill_s=10.0)
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.spend(9.0)
    assert budget.spend(11.0)
    assert not budget.spend(12.0)


def test_a_budget_does_not_grow_beyond_its_burst() -> None:
    budget = Budget(2, refill_s=1.0)
    assert [budget.spend(1e6) for _ in range(3)] == [True, True, False]
    assert [budget.spend(2e6) for _ in range(3)] == [True, True, False]
