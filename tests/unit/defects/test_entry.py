"""Faults in reset, score and open interest. The ids are those of the list of known faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import exp, log
from typing import Any

import msgspec
import pytest

from services.core.records import Signal
from services.core.settings import StrategySettings
from services.market.history import OpenInterestSeries
from services.signal_validator import Limits
from services.strategy.candles import Candle
from services.strategy.open_interest import log_change
from services.strategy.params import Params
from services.strategy.reset import Setup, exhausted, explosive, follow, gap_at, open_setup
from services.strategy.score import Bar, Score, compute, fading, rejection, signed
from services.strategy.types import Entry, Environment
from tests.unit.strategy.conftest import Paused, events_of
from tests.unit.strategy.test_open_interest import history_of as oi_history_of
from tests.unit.strategy.test_open_interest import wobble
from tests.unit.strategy.test_reset import DETECTED, extend, history_of
from tests.unit.test_signal_validator import signal, verdict

PARAMS = Params()


def entry_of(name: str) -> Entry:
    return next(event for event in events_of(name) if isinstance(event, Entry))


def test_D24_a_crash_does_not_confirm_a_long() -> None:
    history = history_of(DETECTED, lambda t: 0.1 if t < DETECTED - 100 else -0.2)
    setup = open_setup(history, "BTC", 1, 30)
    for i in range(180):
        extend(history, [(3.0, 100.0 - 0.2 * i)], perp=3.0)
        follow(setup, history, PARAMS, peak_frozen=True)
    setup.gap = 0.5 * setup.peak
    assert not explosive(setup, history, PARAMS)
    for i in range(180):
        extend(history, [(3.0, 64.0 + 0.2 * i)], perp=3.0)
    assert explosive(setup, history, PARAMS)


def test_D25_D26_a_gap_that_widens_does_not_converge() -> None:
    """Neither when the price has come to rest, nor when the accumulators begin elsewhere."""
    history = history_of(DETECTED, lambda _: 0.1)
    setup = open_setup(history, "BTC", 1, 30)
    for _ in range(400):
        extend(history, [(0.2, 100.0)])
        follow(setup, history, PARAMS, peak_frozen=False)
        assert setup.closed <= 0.0
        assert not exhausted(setup, history, PARAMS)
    before = gap_at(setup, history, 0)
    history.shift(5e5, -9e5)
    setup.shift(5e5, -9e5)
    assert gap_at(setup, history, 0) == pytest.approx(before, rel=1e-6)


def test_D27_the_extreme_of_the_reset_is_kept_for_the_exit(
    paused: Callable[[str], Paused],
) -> None:
    at = paused("trigger")
    setup = at.engine.snapshot()["setup"]
    expected = setup["extreme"] - PARAMS.rb_buf * setup["r5"]
    assert log(at.entry.invalidation_price) == pytest.approx(expected)
    at.engine.accept("id")
    at.engine.filled(at.entry.t, 1, at.entry.entry_price)
    assert at.engine.snapshot()["position"]["level"] == pytest.approx(expected)


def keys_of(value: Any) -> set[str]:
    """All keys, at any depth."""
    if not isinstance(value, Mapping):
        return set()
    return {str(key) for key in value} | {key for inner in value.values() for key in keys_of(inner)}


def test_D28_no_alignment_of_timeframes_is_claimed() -> None:
    entry = entry_of("S1")
    assert set(entry.breakdown) == {
        "cvd_reset_deceleration", "absorption_candle", "failed_breakdown", "directional_bias",
        "oi_confirmation",
    }  # fmt: skip
    assert entry.score == pytest.approx(sum(entry.breakdown.values()))
    named = keys_of(entry.record) | {name for kind in (Signal, Entry, Setup, Params, Score)
                                     for name in kind.__annotations__}  # fmt: skip
    assert named >= {"closed", "reset_type", "score_breakdown", "trigger"}
    words = ("align", "mtf", "timeframe", "confluence")
    assert [name for name in named if any(word in name for word in words)] == []


def test_D29_no_score_is_too_good() -> None:
    best = Score(3.5, 2.5, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    assert best.total == 10.0
    assert verdict(signal(score=best.total)) == ""


def test_D30_a_failed_breakdown_scores() -> None:
    assert entry_of("S1").breakdown["failed_breakdown"] == pytest.approx(1.40, abs=0.01)


def test_D31_a_short_wants_the_wick_above() -> None:
    hammer = Candle(0, 0.9, 1.0, 0.0, 0.95, 1.0, 1.0, 0.0)
    star = Candle(0, 0.1, 1.0, 0.0, 0.05, 1.0, 1.0, 0.0)
    assert rejection(signed(hammer, 1), 2.0, -0.1, 1.0) == pytest.approx(1.0)
    assert rejection(signed(star, -1), 2.0, -1.1, 1.0) == pytest.approx(1.0)
    assert rejection(signed(hammer, -1), 2.0, -1.1, 1.0) < 0.3
    tiny = Bar(0.9e-9, 1.0e-9, 0.0, 0.95e-9)
    assert rejection(tiny, 2.0, -1e-10, 1e-9) == pytest.approx(1.0)


def test_D32_a_context_against_the_trade_earns_nothing(paused: Callable[[str], Paused]) -> None:
    at = paused("trigger")
    machine, history = at.engine._machine, at.engine._history
    assert machine.setup is not None
    points = {}
    for environment in Environment:
        history.environment = environment
        points[environment] = compute(machine.setup, history, PARAMS).bias
    against = points[Environment.LONG_SQUEEZE]
    assert points[Environment.NEUTRAL] - against == pytest.approx(0.4 * 0.25 * 2.0)
    assert points[Environment.SHORT_SQUEEZE] - against == pytest.approx(0.25 * 2.0)


def test_D33_deceleration_does_not_depend_on_the_origin(paused: Callable[[str], Paused]) -> None:
    at = paused("trigger")
    machine, history = at.engine._machine, at.engine._history
    assert machine.setup is not None
    before = compute(machine.setup, history, PARAMS).deceleration
    machine.shift(-1e6, 3e6)
    assert compute(machine.setup, history, PARAMS).deceleration == pytest.approx(before, rel=1e-6)
    assert fading(replace_setup(machine.setup, tests=0)) == 0.0


def replace_setup(setup: Setup, **changes: float) -> Setup:
    return replace(setup, **changes)  # type: ignore[arg-type]


def test_D34_long_and_short_score_alike() -> None:
    long, short = entry_of("S1"), entry_of("S4")
    assert (long.direction, short.direction) == (1, -1)
    assert dict(short.breakdown) == pytest.approx(dict(long.breakdown), abs=1e-9)


def test_D35_there_is_one_threshold() -> None:
    found = {Params().min_score, Limits().min_score, StrategySettings().squeezeflow_min_score}
    assert found == {4.0}


def test_D37_a_signal_without_a_score_is_no_signal() -> None:
    values = msgspec.to_builtins(signal())
    del values["score"]
    with pytest.raises(msgspec.ValidationError, match="score"):
        msgspec.convert(values, Signal)


def test_D46_rising_open_interest_can_be_confirmed() -> None:
    entry = entry_of("S3")
    assert (entry.oi_state, entry.breakdown["oi_confirmation"]) == ("STRONG", 2.0)


def test_D47_the_change_is_that_of_the_setup_not_of_the_last_call() -> None:
    calm = wobble(400)
    rising = [{"A": calm[-1]["A"] * exp(0.01 * i)} for i in range(20)]
    still = [dict(rising[-1]) for _ in range(5)]
    history = oi_history_of([*calm, *rising, *still])
    assert history.confirm(25, 4).state == "STRONG"
    assert history.confirm(3, 0).state == "NEUTRAL"


def test_D48_an_exchange_that_is_missing_changes_nothing() -> None:
    assert log_change({"A": 100.0, "B": 900.0}, {"A": 100.0}) == 0.0
    assert log_change({"A": 100.0}, {"A": 100.0, "B": 900.0}) == 0.0


def test_D49_open_interest_is_that_of_the_second() -> None:
    series = OpenInterestSeries()
    series.add("A", 1000, 5.0)
    series.add("A", 2000, 9.0)
    assert series.at(2009) == {"A": 5.0}
    assert series.at(1009) == {}
    assert series.at(2000 + 1801) == {}
