from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from services.strategy.divergence import Detector, measure, opposed, usable
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.types import Environment, Second

PARAMS = Params()
LENGTH_S = 1900


def history_of(
    spot: Callable[[int], float],
    perp: Callable[[int], float],
    *,
    move: float = 0.0,
    degraded: frozenset[int] = frozenset(),
) -> History:
    """Deltas as functions of the second; every scale is put to 100, the gap scale to 1."""
    history = History(PARAMS, 0.0, 0.0)
    for t in range(LENGTH_S):
        price = float(np.exp(move * t / 1800))
        second = Second(t, spot(t), perp(t), 1.0, 1.0, price, price, price, price)
        history.add(second._replace(degraded=t in degraded))
    for scale in (history.spot, history.perp):
        scale.scale = dict.fromkeys(PARAMS.scale_windows, 100.0)
    history.price.scale = dict.fromkeys(PARAMS.scale_windows, 0.01)
    history.gap_scale = {15: 1.0, 30: 1.0}
    history.environment = Environment.NEUTRAL
    return history


def test_opposite_legs_at_a_flat_price_diverge() -> None:
    history = history_of(lambda _: 0.1, lambda _: -0.1)
    found = measure(history, 1, 30, PARAMS)
    assert found.z_spot == pytest.approx(1.8)
    assert found.z_perp == pytest.approx(-1.8)
    assert found.gap == pytest.approx(3.6)
    assert found.holds
    assert not measure(history, -1, 30, PARAMS).holds
    mirrored = measure(history_of(lambda _: -0.1, lambda _: 0.1), -1, 30, PARAMS)
    assert mirrored.holds
    assert mirrored.gap == pytest.approx(-3.6)


@pytest.mark.parametrize(
    ("spot", "perp", "condition"),
    [(0.5, 0.1, "legs"), (0.5, -0.05, "legs"), (0.08, -0.08, "wide")],
)
def test_weak_or_parallel_legs_do_not(spot: float, perp: float, condition: str) -> None:
    found = measure(history_of(lambda _: spot, lambda _: perp), 1, 30, PARAMS)
    assert not getattr(found, condition)
    assert not found.holds


@pytest.mark.parametrize(
    ("move", "stable"), [(-0.0105, False), (-0.0095, True), (0.0195, True), (0.0205, False)]
)
def test_price_may_neither_fall_nor_be_gone(move: float, stable: bool) -> None:
    history = history_of(lambda _: 0.1, lambda _: -0.1, move=move)
    assert measure(history, 1, 30, PARAMS).stable is stable


def test_one_burst_is_not_sustained() -> None:
    burst = history_of(lambda t: 180.0 if t == LENGTH_S - 100 else 0.0, lambda _: -0.1)
    assert not measure(burst, 1, 30, PARAMS).sustained


def test_opposed_needs_both_legs_beyond_the_threshold() -> None:
    history = history_of(lambda _: 0.1, lambda _: -0.05)
    assert opposed(history, 30, 1.0) == 0
    assert opposed(history, 30, 0.5) == 1
    assert opposed(history_of(lambda _: -0.1, lambda _: 0.1), 30, 1.0) == -1
    assert opposed(history_of(lambda _: 0.1, lambda _: 0.1), 30, 0.5) == 0


def test_a_window_with_holes_is_not_used() -> None:
    late = frozenset(range(LENGTH_S - 181, LENGTH_S))
    history = history_of(lambda _: 0.1, lambda _: -0.1, degraded=late)
    assert not usable(history, 30, PARAMS)
    few = frozenset(range(LENGTH_S - 90, LENGTH_S))
    assert usable(history_of(lambda _: 0.1, lambda _: -0.1, degraded=few), 30, PARAMS)


def test_it_must_hold_for_a_minute() -> None:
    history = history_of(lambda _: 0.1, lambda _: -0.1)
    detector = Detector(PARAMS)
    found = [detector.update(history, t) for t in range(60)]
    assert found == [{}] * 59 + [{1: 30}]
    history.spot.scale[30] = history.spot.scale[15] = 1000.0
    detector.update(history, 60)
    assert detector.held == {1: 0, -1: 0}


def test_the_shorter_window_counts_too() -> None:
    history = history_of(lambda _: 0.2, lambda _: -0.2)
    history.spot.scale[30] = 1000.0
    detector = Detector(replace(PARAMS, div_confirm_s=1))
    assert detector.update(history, 0) == {1: 15}


def test_a_context_against_it_blocks_it() -> None:
    history = history_of(lambda _: 0.1, lambda _: -0.1)
    detector = Detector(replace(PARAMS, div_confirm_s=1))
    history.environment = Environment.LONG_SQUEEZE
    assert detector.update(history, 0) == {}
    history.environment = Environment.SHORT_SQUEEZE
    assert detector.update(history, 1) == {1: 30}


def test_a_blocked_direction_waits_for_the_gap_to_close_or_for_time() -> None:
    history = history_of(lambda _: 0.2, lambda _: -0.2)
    detector = Detector(replace(PARAMS, div_confirm_s=1))
    detector.block(1, 100)
    assert detector.update(history, 101) == {}
    assert detector.update(history, 1900) == {}
    assert detector.update(history, 1901) == {1: 30}
    detector.block(1, 100)
    history.gap_scale[15] = 4.0
    assert detector.update(history, 100) == {}
    assert detector.update(history, 101) == {1: 30}
