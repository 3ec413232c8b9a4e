from __future__ import annotations

from collections.abc import Mapping
from math import exp, log

import pytest

from services.strategy.open_interest import (
    UNAVAILABLE,
    OpenInterestHistory,
    OpenInterestState,
    judge,
    log_change,
)
from services.strategy.params import Params

PARAMS = Params()


@pytest.mark.parametrize(
    ("z", "state", "points"),
    [
        (2.0, "STRONG", 2.0),
        (1.99, "WEAK", 0.5),
        (1.0, "WEAK", 0.5),
        (0.99, "NEUTRAL", 0.0),
        (-0.99, "NEUTRAL", 0.0),
        (-1.0, "CONTRADICT", -1.0),
    ],
)
def test_points_by_size_of_the_change(z: float, state: str, points: float) -> None:
    assert judge(z, PARAMS) == (OpenInterestState(state), z, points)


def test_only_exchanges_at_both_ends_count() -> None:
    assert log_change({"A": 10.0, "B": 99.0}, {"A": 20.0, "C": 5.0}) == pytest.approx(log(2))
    assert log_change({"A": 1.0}, {"B": 1.0}) is None
    assert log_change({}, {}) is None


def history_of(values: list[Mapping[str, float]]) -> OpenInterestHistory:
    history = OpenInterestHistory(PARAMS)
    for value in values:
        history.add(value)
    history.refresh()
    return history


def wobble(count: int) -> list[Mapping[str, float]]:
    return [{"A": 1000.0 * exp(0.001 * (i % 4))} for i in range(count)]


def test_a_jump_is_measured_against_past_changes() -> None:
    calm = wobble(400)
    jump = exp(0.5)
    values = [*calm, *({"A": calm[-1]["A"] * jump} for _ in range(10))]
    found = history_of(values).confirm(20, 2)
    assert found.state is OpenInterestState.STRONG
    falling = [*calm, *({"A": calm[-1]["A"] / jump} for _ in range(10))]
    assert history_of(falling).confirm(20, 2).state is OpenInterestState.CONTRADICT


def test_a_new_exchange_adds_no_change() -> None:
    calm = wobble(400)
    values = [*calm, *({**value, "B": 1e6} for value in wobble(10))]
    found = history_of(values).confirm(12, 0)
    assert found.z is not None
    assert abs(found.z) < 2.0


@pytest.mark.parametrize(
    "values",
    [
        [],
        wobble(200),
        [*wobble(400), {}],
        [{"A": 5.0}] * 400,
    ],
    ids=["none", "short history", "stale", "constant"],
)
def test_it_is_unavailable_without_enough_data(values: list[Mapping[str, float]]) -> None:
    assert history_of(values).confirm(20, 2) == UNAVAILABLE


def test_a_change_between_different_exchanges_is_not_known() -> None:
    values = [*wobble(400), *({"B": 1e6} for _ in range(5))]
    assert history_of(values).confirm(20, 2) == UNAVAILABLE


def test_minutes_that_have_left_the_history_are_no_longer_counted() -> None:
    longest = PARAMS.hist_min + max(PARAMS.scale_windows) + 1
    history = history_of([*wobble(longest), *[{}] * 10])
    assert history.known == longest - 10
    history = history_of([*[{}] * 10, *wobble(longest)])
    assert history.known == longest


def test_an_interval_needs_a_minute() -> None:
    assert history_of(wobble(400)).confirm(5, 5) == UNAVAILABLE
