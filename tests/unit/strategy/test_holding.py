"""A position followed through many seconds at once, against each second alone."""

from __future__ import annotations

import dataclasses

import pytest

from services.strategy.block import Block
from services.strategy.engine import SymbolEngine
from services.strategy.exits import SLOW_S
from services.strategy.params import Params
from services.strategy.types import Exit
from tests.unit.strategy.skipping import (
    EASY,
    HELD_AFTER_S,
    NO_FLOW,
    T,
    compare,
    late,
    minutes,
    open_position,
    seconds,
    step,
)

# parameters, drift of spot and perp in the direction of the position, distance of the invalidation
# price, spot CVD since the entry, untrusted seconds
EXITS: dict[str, tuple[Params, float, float, float, float, tuple[tuple[int, int], ...]]] = {
    "RANGE_BREAK": (NO_FLOW, 0.0, 0.0, 0.001, 0.0, ()),
    "FLOW_REVERSAL": (EASY, -4.0, 2.5, 0.05, 0.0, ()),
    "FLOW_REVERSAL_GIVEBACK": (
        dataclasses.replace(EASY, exit_flow_z=99.0, giveback_perp_z=0.1, ctx_on=9.0),
        -2.0,
        4.0,
        0.05,
        2500.0,
        (),
    ),
    "LTF_INVALIDATION": (
        dataclasses.replace(NO_FLOW, ctx_on=0.2, ltf_confirm_s=200),
        -5.0,
        5.0,
        0.05,
        0.0,
        (),
    ),
    "CVD_TREND": (dataclasses.replace(EASY, ctx_on=9.0), -4.0, -4.0, 0.05, 0.0, ()),
    "MAX_HOLD": (dataclasses.replace(NO_FLOW, max_hold_s=1700), 0.0, 0.0, 0.05, 0.0, ()),
    "DATA_LOSS": (
        dataclasses.replace(NO_FLOW, gap_exit_s=45),
        0.0,
        0.0,
        0.05,
        0.0,
        ((1500, 30), (2000, 46)),
    ),
}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("reason", EXITS)
def test_a_position_is_skipped_up_to_its_exit(reason: str, direction: int) -> None:
    params, spot, perp, away, since, degraded = EXITS[reason]
    block = seconds(5, late(direction * spot), late(direction * perp), degraded, direction)
    events, skipped = compare(
        block, params, [3840], lambda e: open_position(e, direction, away, since)
    )
    exits = [e for e in events if isinstance(e, Exit)]
    assert [e.reason for e in exits] == [reason]
    held_s = exits[0].t - T - HELD_AFTER_S
    assert held_s > 30
    assert skipped["IN_POSITION"] > 0.6 * held_s


def test_a_position_that_is_too_old_in_the_last_second_of_a_minute_is_left_in_it() -> None:
    params = dataclasses.replace(NO_FLOW, max_hold_s=1739)
    events, _ = compare(seconds(5), params, [3840], lambda e: open_position(e, 1, 0.05))
    (left,) = (e for e in events if isinstance(e, Exit))
    assert (left.reason, left.t % 60) == ("MAX_HOLD", 59)


def test_a_position_is_stepped_until_the_windows_of_its_exits_are_loaded() -> None:
    params, held_after_s = dataclasses.replace(EASY, exit_flow_z=99.0, ctx_on=9.0), 60
    block = seconds(5, late(-4.0, held_after_s), late(-4.0, held_after_s))
    events, skipped = compare(
        block, params, [3840], lambda e: open_position(e, 1, 0.05), held_after_s=held_after_s
    )
    (left, *_) = (e for e in events if isinstance(e, Exit))
    assert (left.reason, left.t) == ("CVD_TREND", T + SLOW_S + params.exit_confirm_s - 1)
    assert skipped["IN_POSITION"] == params.exit_confirm_s - 2


def without_scale(block: Block, params: Params) -> int:
    """Index of the second from which on a leg has no scale."""
    engine = SymbolEngine("BTC", params)
    engine.preload_minutes(minutes(1))
    for i in range(len(block)):
        step(engine, block, i, [])
        if engine.degraded:
            return i
    raise AssertionError("every leg has kept its scale")


def test_a_position_that_a_minutes_close_leaves_without_a_scale_is_left_in_that_second() -> None:
    params = dataclasses.replace(NO_FLOW, hist_min=45, gap_exit_s=1)
    block = seconds(5)
    block.spot_delta[1200:] = 0.0
    events, _ = compare(block, params, [3840], lambda e: open_position(e, 1, 0.05))
    (left,) = (e for e in events if isinstance(e, Exit))
    assert (left.reason, left.t) == ("DATA_LOSS", T + without_scale(block, params))
