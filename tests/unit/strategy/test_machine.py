from __future__ import annotations

from collections.abc import Callable

import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.types import (
    Cancelled,
    Entry,
    Event,
    Exit,
    Expired,
    OpenPosition,
    Second,
    State,
    Transition,
)
from tests.unit.strategy.conftest import Paused
from tests.unit.strategy.scenarios import MIDNIGHT

Pause = Callable[[str], Paused]


def moves(events: list[Event]) -> list[tuple[State, str]]:
    return [(event.state, event.reason) for event in events if isinstance(event, Transition)]


def flat(at: Paused, price: float | None = None) -> Second:
    """The next second without trades, at `price`."""
    t = at.engine.t
    assert t is not None
    at.next_index += 1
    close = at.engine.view()["price"] if price is None else price
    return Second(t + 1, 0.0, 0.0, 0.0, 0.0, close, close, close, close)


def buying(at: Paused, count: int) -> list[Event]:
    """Step through seconds with more buying in both legs than S1 has: the setup stays good."""
    events: list[Event] = []
    for second in at.seconds(count):
        spot, perp = second.spot_delta + 6.0, second.perp_delta + 8.0
        events += at.engine.step(second._replace(spot_delta=spot, perp_delta=perp))
        if events and isinstance(events[-1], Entry):
            break
    return events


def in_position(pause: Pause) -> Paused:
    at = pause("trigger")
    at.engine.accept("id")
    at.engine.filled(at.entry.t, 7, at.entry.entry_price)
    return at


def test_a_refused_entry_is_tried_again_after_the_pause(paused: Pause) -> None:
    at = paused("trigger")
    assert at.engine.refuse("portfolio") == []
    assert at.engine.state is State.RESET
    assert buying(at, 29) == []
    (again,) = buying(at, 1)
    assert isinstance(again, Entry)
    assert again.t == at.entry.t + 30
    assert again.setup_id == at.entry.setup_id


def test_an_answer_without_an_entry_is_an_error(paused: Pause) -> None:
    at = paused("RESET")
    with pytest.raises(ValueError, match="no entry"):
        at.engine.accept("id")


def test_an_accepted_entry_waits_with_its_id(paused: Pause) -> None:
    at = paused("trigger")
    assert moves(at.engine.accept("id")) == [(State.ENTRY_READY, "trigger")]
    assert (at.engine.signal_id, at.engine.setup_id) == ("id", at.entry.setup_id)
    assert at.engine.position is None
    assert at.engine.valid_until == at.entry.t + 60
    assert at.engine.direction == 1


def test_a_signal_that_is_not_filled_expires_and_cools_down(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    assert buying(at, 59) == []
    expired, move = buying(at, 1)
    assert isinstance(expired, Expired)
    assert expired.t == at.entry.t + 60
    assert moves([move]) == [(State.COOLDOWN, "expired")]
    assert at.engine.cooldown_until == expired.t + 900
    assert at.engine.signal_id is None
    assert at.step(899) == []
    assert moves(at.step(1)) == [(State.WATCHING, "cooled_down")]


def test_a_replayed_entry_expires_at_its_own_second(paused: Pause) -> None:
    at = paused("trigger")
    assert moves(at.engine.expire()) == [(State.COOLDOWN, "expired")]
    assert at.engine.cooldown_until == at.entry.t + 900


def test_a_signal_is_cancelled_when_price_falls_to_the_extreme(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    cancelled, move = at.engine.step(flat(at, at.entry.invalidation_price))
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason == "extreme"
    assert moves([move]) == [(State.RESET, "extreme")]


def test_a_signal_is_cancelled_when_price_runs_away(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    cancelled = at.engine.step(flat(at, at.entry.entry_price * 1.02))[0]
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason == "chase"


def test_a_signal_is_cancelled_when_spot_turns(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    cancelled = at.engine.step(flat(at)._replace(spot_delta=-1000.0, spot_volume=1000.0))[0]
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason == "flow"


def test_a_signal_is_cancelled_at_once_when_data_fail(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    cancelled, move = at.engine.step(flat(at)._replace(degraded=True))
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason == "data"
    assert moves([move]) == [(State.RESET, "data")]


def test_a_setup_gets_two_signals_at_most(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("first")
    assert moves(at.engine.withdrawn(at.entry.t, "rejected")) == [(State.RESET, "rejected")]
    second = next(event for event in buying(at, 60) if isinstance(event, Entry))
    assert second.t == at.entry.t + 30
    at.engine.accept("second")
    assert moves(at.engine.withdrawn(second.t, "rejected")) == [(State.WATCHING, "signal_limit")]


def test_a_late_fill_of_a_cancelled_signal_is_still_a_position(paused: Pause) -> None:
    at = paused("trigger")
    at.engine.accept("id")
    at.engine.step(flat(at)._replace(degraded=True))
    assert moves(at.engine.filled(at.entry.t, 7, 100.0)) == [(State.IN_POSITION, "filled")]
    assert at.engine.trade_id == 7
    assert (at.engine.signal_id, at.engine.setup_id) == ("id", None)
    assert at.engine.position is not None
    assert at.engine.position.setup_id == at.entry.setup_id


def test_a_signal_that_was_filled_cannot_be_withdrawn(paused: Pause) -> None:
    at = in_position(paused)
    assert at.engine.withdrawn(at.entry.t + 1, "portfolio") == []
    assert at.engine.state is State.IN_POSITION


@pytest.mark.parametrize(("milestone", "direction"), [("watching", 0), ("", 1)])
def test_a_position_without_a_direction_or_a_second_cannot_be_adopted(
    paused: Pause, milestone: str, direction: int
) -> None:
    engine = paused(milestone).engine if milestone else SymbolEngine("BTC")
    with pytest.raises(ValueError, match="after the first second"):
        engine.adopt(OpenPosition(5, direction, MIDNIGHT, 100.0))


def test_a_fill_is_counted_once(paused: Pause) -> None:
    at = in_position(paused)
    assert at.engine.filled(at.entry.t, 7, 100.0) == []
    with pytest.raises(ValueError, match="while 7 is open"):
        at.engine.filled(at.entry.t, 8, 100.0)


def test_a_fill_without_a_signal_is_an_error(paused: Pause) -> None:
    with pytest.raises(ValueError, match="no signal"):
        paused("watching").engine.filled(0, 1, 1.0)


def test_the_baseline_is_taken_at_the_fill_second_past_or_future(paused: Pause) -> None:
    early, late = paused("trigger"), paused("trigger")
    for at, fill_second in ((early, early.entry.t + 3), (late, late.entry.t + 3)):
        at.engine.accept("id")
        if at is early:
            at.engine.filled(fill_second, 7, 100.0)
            at.step(10)
        else:
            at.step(10)
            at.engine.filled(fill_second, 7, 100.0)
    at_early, at_late = early.engine.view()["exit"], late.engine.view()["exit"]
    assert at_early["c_spot"] == at_late["c_spot"]
    assert at_early["c_perp"] == at_late["c_perp"]
    assert at_early["best_spot"] == at_late["best_spot"]


def test_price_under_the_level_for_ten_seconds_exits_once(paused: Pause) -> None:
    at = in_position(paused)
    below = at.entry.invalidation_price * (1 - 1e-6)
    for _ in range(9):
        assert at.engine.step(flat(at, below)) == []
    closing, move = at.engine.step(flat(at, below))
    assert isinstance(closing, Exit)
    assert (closing.reason, closing.direction, closing.price) == ("RANGE_BREAK", 1, below)
    assert moves([move]) == [(State.CLOSING, "RANGE_BREAK")]
    assert [at.engine.step(flat(at, below)) for _ in range(20)] == [[]] * 20
    assert moves(at.engine.position_closed(at.entry.t + 40, "done")) == [(State.COOLDOWN, "done")]
    assert at.engine.cooldown_until == at.entry.t + 940


def test_one_second_above_the_level_starts_the_count_again(paused: Pause) -> None:
    at = in_position(paused)
    below = at.entry.invalidation_price * (1 - 1e-6)
    for price in [below] * 9 + [at.entry.entry_price] + [below] * 9:
        assert at.engine.step(flat(at, price)) == []


def test_a_position_closed_by_hand_cools_down(paused: Pause) -> None:
    at = in_position(paused)
    at.step(5)
    assert moves(at.engine.position_closed(at.entry.t + 5, "manual")) == [
        (State.COOLDOWN, "manual")
    ]
    assert at.engine.trade_id is None
    assert at.engine.position_closed(at.entry.t + 6, "again") == []


def test_long_data_loss_closes_the_position(paused: Pause) -> None:
    at = in_position(paused)
    for second in at.seconds(599):
        assert at.engine.step(second._replace(degraded=True)) == []
    closing = at.engine.step(next(at.seconds(1))._replace(degraded=True))[0]
    assert isinstance(closing, Exit)
    assert closing.reason == "DATA_LOSS"


def test_without_data_the_price_level_still_exits_while_the_price_moves(paused: Pause) -> None:
    at = in_position(paused)
    below = at.entry.invalidation_price
    events: list[Event] = []
    for i in range(1, 12):
        events += at.engine.step(flat(at, below * (1 - i * 1e-6))._replace(degraded=True))
    assert [event.reason for event in events if isinstance(event, Exit)] == ["RANGE_BREAK"]


def test_a_dead_price_does_not_exit(paused: Pause) -> None:
    at = in_position(paused)
    for _ in range(29):
        at.engine.step(flat(at)._replace(degraded=True))
    below = at.entry.invalidation_price * (1 - 1e-6)
    for _ in range(9):
        assert at.engine.step(flat(at, below)._replace(degraded=True)) == []
    for _ in range(30):
        assert at.engine.step(flat(at, at.entry.entry_price)._replace(degraded=True)) == []


def test_a_setup_survives_a_short_gap_and_not_a_long_one(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    for second in at.seconds(119):
        assert at.engine.step(second._replace(degraded=True)) == []
    at.step(1)
    assert at.engine.state is State.DIVERGENCE
    events: list[Event] = []
    for second in at.seconds(120):
        events += at.engine.step(second._replace(degraded=True))
    assert moves(events) == [(State.WATCHING, "data_gap")]


def test_nothing_is_detected_after_the_set_of_markets_has_changed(paused: Pause) -> None:
    at = paused("watching")
    frozen = next(at.seconds(1))._replace(composition_frozen=True)
    at.engine.step(frozen)
    assert at.step(1799) == []
    detected = at.step_until(State.DIVERGENCE, at_most=100)
    assert detected[0].t == frozen.t + 1800 + 59


def test_a_block_ends_also_while_the_new_set_of_markets_is_awaited(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    for second in at.seconds(120):
        at.engine.step(second._replace(degraded=True))
    at.step(900)
    at.engine.step(flat(at)._replace(composition_frozen=True))
    assert at.engine.view()["blocked"].keys() == {"1"}
    at.engine.step(flat(at)._replace(spot_delta=-5000.0, spot_volume=5000.0))
    assert at.engine.view()["blocked"] == {}


def test_an_aborted_setup_does_not_come_back_while_its_gap_is_open(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    for second in at.seconds(120):
        at.engine.step(second._replace(degraded=True))
    assert at.engine.state is State.WATCHING
    blocked = 0
    for _ in range(1000):
        at.step(1)
        blocked = max(blocked, at.engine.view()["divergence"]["long_s"])
    assert blocked > 60
    assert at.engine.state is State.WATCHING


def test_a_block_ends_when_the_gap_has_closed(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    for second in at.seconds(120):
        at.engine.step(second._replace(degraded=True))
    assert at.engine.view()["blocked"].keys() == {"1"}
    at.step(900)
    sold = flat(at)._replace(spot_delta=-5000.0, spot_volume=5000.0)
    at.engine.step(sold)
    assert at.engine.view()["blocked"] == {}


def test_a_reset_that_never_turns_times_out(paused: Pause) -> None:
    at = paused("RESET")
    events: list[Event] = []
    for _ in range(1801):
        events += at.engine.step(flat(at))
    assert moves(events) == [(State.WATCHING, "reset_timeout")]


def test_price_breaking_hard_against_the_setup_aborts(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    assert moves(at.engine.step(flat(at, 95.0))) == [(State.WATCHING, "broke")]


def test_price_leaving_without_a_reset_aborts(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    assert moves(at.engine.step(flat(at, 105.0))) == [(State.WATCHING, "ran")]


def test_a_gap_that_inverts_aborts(paused: Pause) -> None:
    at = paused("DIVERGENCE")
    sold = flat(at)._replace(spot_delta=-1e5, spot_volume=1e5)
    assert moves(at.engine.step(sold)) == [(State.WATCHING, "unwound")]


def test_a_wider_gap_in_reset_goes_back_to_divergence(paused: Pause) -> None:
    at = paused("RESET")
    at.step(5)
    bought = flat(at)._replace(spot_delta=1e5, spot_volume=1e5)
    assert moves(at.engine.step(bought)) == [(State.DIVERGENCE, "new_peak")]
    view = at.engine.view()["reset"]
    assert view["peak_t"] == at.engine.t
    assert view["speed_max"] == 0.0
