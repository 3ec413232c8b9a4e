from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from services.strategy import progress
from services.strategy.condition import POINTS, STEP
from services.strategy.divergence import Divergence
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.progress import NEXT, Leg
from services.strategy.types import Entry, Environment, State
from tests.unit.strategy.conftest import market_of
from tests.unit.strategy.hasty import HASTY
from tests.unit.strategy.noise import wild
from tests.unit.strategy.scenarios import LEAD_S, MIDNIGHT, SCENARIOS, Market
from tests.unit.strategy.stepwise import Stepwise, broken, hindered, met_way, ready

ORIGIN = MIDNIGHT + LEAD_S
REPORTED = (State.ENTRY_READY, State.CLOSING)
"""States that are left when the execution engine reports something."""


@cache
def whole(name: str) -> Stepwise:
    return Stepwise(since=ORIGIN).follow(market_of(name).seconds())


@cache
def busy(seed: int) -> Market:
    return wild(1, seed)


def check(walked: Stepwise) -> None:
    """A step comes in the first second in which nothing is missing, and never otherwise."""
    for stay in walked.stays:
        assert not stay.odd, f"{stay.state} at {stay.t}"
        assert not stay.ready, f"nothing is missing in {stay.state} at {stay.t}"
        if not stay.degraded:
            assert not stay.broken, f"{stay.state} at {stay.t}"
    for move in walked.moves:
        if move.previous is State.CLOSING:
            continue
        if move.state is NEXT[move.previous]:
            assert ready(move.then.conditions), str(move)
        elif move.previous not in (State.COOLDOWN, State.IN_POSITION):
            assert broken(move.then.conditions), str(move)
        if move.before is not None and move.previous not in REPORTED:
            assert not ready(move.before.conditions), str(move)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_step_comes_in_the_first_second_in_which_all_its_conditions_are_met(name: str) -> None:
    walked = whole(name)
    check(walked)
    steps = [move for move in walked.moves if move.state is NEXT[move.previous]]
    least = [State.DIVERGENCE] if name == "S6" else list(NEXT)[2:7]
    assert [move.state for move in steps][: len(least)] == least
    for move in steps:
        if move.previous in (State.WATCHING, State.DIVERGENCE, State.RESET, State.IN_POSITION):
            assert move.before is not None
            assert any(not c.met for c in move.before.conditions if c.kind == STEP)


def test_warming_up_ends_in_the_second_in_which_enough_is_there() -> None:
    walked = Stepwise().follow(market_of("S1").seconds(0, 17_000))
    check(walked)
    (warm, *_) = walked.moves
    assert (warm.previous, warm.state) == (State.WARMUP, State.WATCHING)
    assert warm.t == MIDNIGHT + 270 * 60 - 1
    assert warm.before is not None
    (lacking,) = (c for c in warm.before.conditions if not c.met)
    assert (lacking.code, lacking.have, lacking.need) == ("minutes", 269, 270)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("S1", "FLOW_REVERSAL_GIVEBACK"),
        ("S2", "CVD_TREND"),
        ("S3", "RANGE_BREAK"),
        ("S4", "LTF_INVALIDATION"),
        ("S5", "FLOW_REVERSAL"),
    ],
)
def test_a_position_is_left_by_the_way_whose_conditions_are_all_met(name: str, way: str) -> None:
    walked = whole(name)
    left = next(move for move in walked.moves if move.previous is State.IN_POSITION)
    assert left.reason == way
    assert met_way(left.then.conditions, way)
    assert left.before is not None
    assert not met_way(left.before.conditions, way)


@pytest.mark.parametrize(("name", "way"), [("S1", "A"), ("S2", "B")])
def test_a_reset_comes_by_the_way_that_is_named(name: str, way: str) -> None:
    walked = whole(name)
    reset = next(move for move in walked.moves if move.state is State.RESET)
    ways = {c.way for c in reset.then.conditions if c.way and met_way(reset.then.conditions, c.way)}
    assert ways == {way}


def test_a_set_up_that_price_breaks_names_it_in_that_very_second() -> None:
    walked = whole("S6")
    over = next(move for move in walked.moves if move.reason == "broke")
    assert broken(over.then.conditions) == ["broke"]
    assert over.before is not None
    assert broken(over.before.conditions) == []


@pytest.mark.parametrize("fill_after_s", [0, 3, None])
@pytest.mark.parametrize("seed", [1, 2])
def test_in_any_market_each_step_comes_when_nothing_is_missing(
    seed: int, fill_after_s: int | None
) -> None:
    seconds = busy(seed).seconds(0, 14_000)
    walked = Stepwise(HASTY, fill_after_s=fill_after_s).follow(seconds)
    check(walked)
    seen = {(move.previous, move.state) for move in walked.moves}
    assert len(walked.moves) > 30
    assert (State.RESET, State.ENTRY_READY) in seen
    ended = {move.reason for move in walked.moves if move.previous is State.ENTRY_READY}
    assert ("filled" in ended) == (fill_after_s is not None)


def test_every_guard_that_ends_a_set_up_is_named_as_the_transition_is() -> None:
    walked = Stepwise(HASTY, fill_after_s=None).follow(busy(1).seconds(0, 30_000))
    ended = [
        move
        for move in walked.moves
        if move.previous in (State.DIVERGENCE, State.RESET, State.ENTRY_READY)
        and move.state is not NEXT[move.previous]
        and move.reason != "signal_limit"
    ]
    assert len({move.reason for move in ended}) >= 5
    for move in ended:
        assert move.reason in broken(move.then.conditions), str(move)


def test_a_refused_signal_is_tried_again_when_nothing_is_missing() -> None:
    walked = Stepwise(HASTY, refusing=True).follow(busy(2).seconds(0, 14_000))
    check(walked)
    assert len(walked.refused) > 3
    assert all(ready(found.conditions) for found in walked.refused)
    assert any("attempt" in stay.unmet for stay in walked.stays)


def test_data_that_cannot_be_trusted_are_what_is_missing() -> None:
    spans = [
        range(ORIGIN + 1170, ORIGIN + 1175),
        range(ORIGIN + 2000, ORIGIN + 2100),
        range(ORIGIN + 2936, ORIGIN + 3100),
    ]
    seconds = hindered(market_of("S1").seconds(0, LEAD_S + 3200), spans)
    walked = Stepwise(since=ORIGIN).follow(seconds)
    check(walked)
    for stay in walked.stays:
        assert ("data" in stay.unmet) == stay.degraded
    over = next(move for move in walked.moves if move.reason == "data_gap")
    assert broken(over.then.conditions) == ["data_gap"]


def test_a_leg_that_has_come_to_rest_is_what_is_missing() -> None:
    seconds = list(busy(1).seconds(0, 7_000))
    seconds[4_000:] = [s._replace(spot_delta=0.0, spot_volume=0.0) for s in seconds[4_000:]]
    params = replace(HASTY, hist_min=45)
    walked = Stepwise(params, since=MIDNIGHT + 4_000).follow(seconds)
    check(walked)
    for stay in walked.stays:
        if stay.state is State.WATCHING:
            assert ("data" in stay.unmet) == stay.degraded
    last = walked.engine.progress()
    assert last.state is State.WATCHING
    (told,) = (c for c in last.conditions if c.code == "data")
    assert told.text == "spot, perp or price moves in too few minutes to have a scale"
    assert (told.met, told.have) == (False, None)


def test_a_position_without_data_is_left_in_the_second_it_is_due() -> None:
    blind = range(ORIGIN + 3_600, ORIGIN + 4_500)
    seconds = hindered(market_of("S1").seconds(0, LEAD_S + 4_500), [blind])
    walked = Stepwise(since=ORIGIN).follow(seconds)
    check(walked)
    left = next(move for move in walked.moves if move.previous is State.IN_POSITION)
    assert left.reason == "DATA_LOSS"
    assert met_way(left.then.conditions, "DATA_LOSS")


def test_a_change_of_the_markets_holds_divergences_up_while_it_is_told() -> None:
    changed = ORIGIN + 1_100
    seconds = hindered(market_of("S1").seconds(0, LEAD_S + 4000), (), [changed])
    walked = Stepwise(since=ORIGIN).follow(seconds)
    check(walked)
    told = [stay.t for stay in walked.stays if "composition" in stay.unmet]
    assert told == list(range(changed, changed + 1_800))


def test_an_ended_set_up_blocks_its_direction_until_it_is_told_no_more() -> None:
    walked = Stepwise(HASTY).follow(busy(2).seconds(0, 14_000))
    check(walked)
    blocked = [stay for stay in walked.stays if "rearm" in stay.unmet]
    assert blocked
    assert all(stay.state is State.WATCHING for stay in blocked)


@pytest.mark.parametrize(
    ("code", "params"),
    [("open_interest", Params(oi_required=True)), ("cost", Params(cost_mult=20.0))],
)
def test_a_condition_that_is_switched_on_is_told(code: str, params: Params) -> None:
    seconds = market_of("S1").seconds(0, LEAD_S + 3_400)
    walked = Stepwise(params, since=ORIGIN).follow(seconds)
    check(walked)
    assert not any(move.state is State.ENTRY_READY for move in walked.moves)
    told = [stay for stay in walked.stays if stay.state is State.RESET]
    assert told
    assert all(code in stay.unmet for stay in told)


def test_a_position_that_waits_for_its_fill_or_is_never_left_for_data_says_so() -> None:
    engine = SymbolEngine("BTC", Params(gap_exit_enabled=False))
    for second in market_of("S1").seconds():
        if any(isinstance(event, Entry) for event in engine.step(second)):
            break
    engine.accept("id")
    assert engine.t is not None
    engine.filled(engine.t + 1, 7, 100.0)
    assert [c.code for c in engine.progress().conditions] == ["baseline"]
    engine.step(second._replace(t=second.t + 1))
    codes = {c.code for c in engine.progress().conditions}
    assert "range" in codes or len(codes) > 3
    assert "gap" not in codes


def test_the_parts_of_the_score_are_told_against_their_most() -> None:
    walked = Stepwise(since=ORIGIN).follow(market_of("S3").seconds(0, LEAD_S + 3_100))
    last = walked.engine.progress()
    assert last.state is State.RESET
    assert last.score is not None
    parts = {c.code: (c.have, c.need) for c in last.conditions if c.kind == POINTS}
    points = last.score.breakdown()
    assert {code: have for code, (have, _) in parts.items()} == points
    assert [need for _, need in parts.values()] == [3.5, 2.5, 2.0, 2.0, 2.0]


def test_looking_changes_nothing() -> None:
    looked, plain = SymbolEngine("BTC", HASTY), SymbolEngine("BTC", HASTY)
    for second in busy(1).seconds(0, 6_000):
        looked.progress()
        events = [engine.step(second) for engine in (looked, plain)]
        assert events[0] == events[1]
        for engine in (looked, plain):
            if engine._machine.pending is not None:
                engine.refuse("test")
        looked.progress(2.0)
        assert looked.snapshot() == plain.snapshot()


def test_since_when_is_known_from_the_transition_on_and_survives_a_restart() -> None:
    engine = SymbolEngine("BTC")
    assert engine.progress().since_t is None
    seconds = list(market_of("S1").seconds(0, LEAD_S + 1_200))
    for second in seconds:
        engine.step(second)
    assert engine.state is State.DIVERGENCE
    assert engine.progress().since_t == ORIGIN + 1_180
    again = SymbolEngine("BTC")
    again.preload_seconds(seconds)
    assert again.progress().since_t is None
    again.restore(engine.snapshot())
    assert again.progress().since_t == ORIGIN + 1_180


def test_a_state_saved_before_times_of_entry_were_known_is_read() -> None:
    engine = SymbolEngine("BTC")
    seconds = list(market_of("S1").seconds(0, 120))
    for second in seconds:
        engine.step(second)
    snapshot = engine.snapshot()
    del snapshot["since_t"]
    again = SymbolEngine("BTC")
    again.preload_seconds(seconds)
    again.restore(snapshot)
    assert again.progress().since_t is None


def test_prices_are_those_of_the_execution_market() -> None:
    walked = Stepwise(since=ORIGIN).follow(market_of("S1").seconds(0, LEAD_S + 3_300))
    plain, doubled = (
        next(c for c in walked.engine.progress(x).conditions if c.code == "level")
        for x in (1.0, 2.0)
    )
    assert plain.have is not None
    assert plain.need is not None
    assert (doubled.have, doubled.need) == (2 * plain.have, 2 * plain.need)
    assert f"{doubled.have:.8g}" in doubled.text


def test_a_window_with_too_many_missing_seconds_is_told_until_they_have_left_it() -> None:
    spans = [range(ORIGIN + 2_000, ORIGIN + 2_040), range(ORIGIN + 2_950, ORIGIN + 2_975)]
    seconds = hindered(market_of("S1").seconds(0, LEAD_S + 3_200), spans)
    walked = Stepwise(since=ORIGIN).follow(seconds)
    check(walked)
    told = {stay.t - ORIGIN: stay.state for stay in walked.stays if "window" in stay.unmet}
    # A tenth may be missing: 30 of 300 s before a reset, 18 of 180 s before an entry.
    assert [t for t, state in told.items() if state is State.DIVERGENCE] == [*range(2_030, 2_309)]
    assert [t for t, state in told.items() if state is State.RESET] == [*range(2_968, 3_136)]


def test_of_two_divergences_the_one_that_is_due_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SymbolEngine("BTC")
    for second in market_of("S1").seconds(0, LEAD_S):
        engine.step(second)
    short = Divergence(-2.0, 2.0, 0.0, -4.0, True, True, True, True)
    holding = {30: short._replace(z_spot=2.0, z_perp=-2.0, gap=4.0), 15: short}
    monkeypatch.setattr(
        progress, "_leg", lambda history, w, params: Leg(w, holding[w], 1.0, 1.0, 1.0, 1.0)
    )
    detector = engine._machine.detector
    for long_s, short_s, toward in ((60, 59, 1), (10, 60, -1), (10, 9, 1), (9, 10, -1)):
        detector.held = {1: long_s, -1: short_s}
        assert engine.progress().toward == toward
    detector.held = {1: 60, -1: 60}
    detector.blocked_since = {1: 0}
    assert engine.progress().toward == -1
    engine._history.environment = Environment.SHORT_SQUEEZE
    assert engine.progress().toward == 1
