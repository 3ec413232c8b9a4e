"""Seconds processed in bulk, each state and each start, against each processed alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.strategy.params import Params
from services.strategy.types import Transition
from tests.unit.strategy.skipping import (
    EASY,
    HASTY,
    NO_FLOW,
    SECONDS,
    T,
    come_and_gone,
    compare,
    late,
    open_position,
    part,
    seconds,
)

PRICES = ("open", "high", "low", "close")


drifts = st.sampled_from((-5.0, -2.0, -0.5, 0.0, 0.5, 2.0, 5.0))


@given(
    seed=st.integers(0, 2**32 - 1),
    direction=st.sampled_from((1, -1)),
    drift=st.tuples(drifts, drifts),
    away=st.sampled_from((0.0001, 0.0005, 0.002, 0.05)),
    since=st.sampled_from((-2000.0, 0.0, 2000.0)),
    params=st.builds(
        dataclasses.replace,
        st.sampled_from((HASTY, EASY, NO_FLOW)),
        max_hold_s=st.sampled_from((0, 700)),
        rb_confirm_s=st.sampled_from((1, 10, 70)),
        exit_confirm_s=st.sampled_from((1, 30, 130)),
        ltf_confirm_s=st.sampled_from((1, 60, 300)),
        gap_exit_s=st.sampled_from((1, 2, 40)),
        cti_fast_z=st.sampled_from((0.0, 0.05, 0.5)),
        hole_max=st.sampled_from((0.0, 0.1)),
        lookback_s=st.sampled_from((1200, 14_400)),
    ),
    degraded=st.lists(
        st.tuples(st.integers(0, SECONDS), st.sampled_from((1, 20, 61))), max_size=3
    ).map(tuple),
    changed=st.lists(st.integers(0, SECONDS - 1), max_size=2),
    pieces=st.lists(st.sampled_from((1, 59, 60, 61, 300, 3840)), min_size=1, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_skipping_in_any_position_gives_the_same_events_and_state(
    seed: int,
    direction: int,
    drift: tuple[float, float],
    away: float,
    since: float,
    params: Params,
    degraded: tuple[tuple[int, int], ...],
    changed: list[int],
    pieces: list[int],
) -> None:
    block = seconds(seed, late(drift[0]), late(drift[1]), degraded, changed=changed)
    compare(block, params, pieces, lambda e: open_position(e, direction, away, since))


@pytest.mark.parametrize("from_s", [30, 59])
def test_the_rest_of_a_minute_whose_begin_nobody_has_seen_is_stepped(from_s: int) -> None:
    block = part(seconds(5), from_s, SECONDS)
    _, skipped = compare(block, HASTY, [3840], lead=list)
    # Then warming up takes 40 whole minutes, of which the last is judged by itself.
    assert skipped["WARMUP"] > 60 * (HASTY.warm_min - 1)


def test_a_market_is_stepped_until_the_windows_of_a_divergence_are_loaded() -> None:
    events, skipped = compare(seconds(5), HASTY, [3840], come_and_gone, held_after_s=60)
    watched = next(e for e in events if isinstance(e, Transition) and e.state == "WATCHING")
    assert watched.t - T < 60 * max(HASTY.div_windows)
    assert skipped["WATCHING"] > 60


@pytest.mark.parametrize("still", ["spot", "price"])
@pytest.mark.parametrize(("held", "period", "stop"), [(False, 400.0, 1500), (True, 150.0, 1200)])
def test_a_market_that_stops_moving_is_skipped_as_it_is_stepped(
    still: str, held: bool, period: float, stop: int
) -> None:
    wave = 6.0 * np.sin(np.arange(SECONDS) / period)
    block = seconds(0, wave, -wave)
    last = {name: getattr(block, name).copy() for name in PRICES}
    if still == "spot":
        last = {"spot_delta": block.spot_delta.copy()}
    for values in last.values():
        values[stop:] = 0.0 if still == "spot" else block.close[stop - 1]
    # A leg has no scale any more once it has stood still for half of the history.
    params = dataclasses.replace(
        HASTY, hist_min=45, lookback_s=1200, gap_exit_s=5000, reset_confirm_s=200
    )
    hold = (lambda engine: open_position(engine, 1, 0.05)) if held else None
    _, skipped = compare(dataclasses.replace(block, **last), params, [3840], hold)
    assert sum(skipped.values()) > 1000


def detected(
    params: Params, degraded: tuple[tuple[int, int], ...] = (), changed: Collection[int] = ()
) -> int:
    """Index of the second of the first divergence in a market that is mostly skipped."""
    block = seconds(3, degraded=degraded, changed=changed)
    events, skipped = compare(block, params, [3840])
    assert skipped["WATCHING"] > 600
    return next(e.t for e in events if isinstance(e, Transition) and e.state == "DIVERGENCE") - T


def test_a_change_of_the_markets_is_skipped_as_it_is_stepped() -> None:
    params = dataclasses.replace(HASTY, comp_freeze_s=120)
    # One second more would have been enough.
    changed = detected(params) - 1
    rested = changed + params.comp_freeze_s
    assert detected(params, changed=[changed]) >= rested + params.div_confirm_s - 1


def test_a_second_not_to_be_trusted_lets_a_divergence_begin_anew_where_it_is_skipped() -> None:
    lost = detected(HASTY) - 1
    assert detected(HASTY, ((lost, 1),)) >= lost + HASTY.div_confirm_s
