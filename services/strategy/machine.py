"""The state machine of one symbol: one `advance` per second, at most one transition in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.strategy import entry, exits
from services.strategy.divergence import Detector
from services.strategy.exits import Position
from services.strategy.fills import Signal, accepted, adopted_position, filled_position
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import Setup, exhausted, explosive, follow, open_setup
from services.strategy.score import Score, chase_limit, compute, refresh_patterns, triggers
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

RESET_SETTLE_S = 5
RESET_WINDOW_S = 300
IN_TRADE = (State.IN_POSITION, State.CLOSING)


class Machine:
    """Decides from the history; `view` supplies the record of entries and exits."""

    def __init__(
        self, base: str, params: Params, history: History, view: Callable[[], dict[str, Any]]
    ) -> None:
        self._base = base
        self._p = params
        self._history = history
        self._view = view
        self.state = State.WARMUP
        self.since_t: int | None = None
        self.detector = Detector(params)
        self.setup: Setup | None = None
        self.score: Score | None = None
        self.signal: Signal | None = None
        self.position: Position | None = None
        self.pending: Entry | None = None
        self.cooldown_until = 0
        self.frozen_until = 0
        self.coverage = 1.0
        self.degraded = False
        self._minute_closed = False
        self._handlers: dict[State, Callable[[int], list[Event]]] = {
            State.WARMUP: self._warm_up,
            State.WATCHING: self._watch,
            State.DIVERGENCE: self._follow_setup,
            State.RESET: self._follow_setup,
            State.ENTRY_READY: self._await_fill,
            State.IN_POSITION: self._hold,
            State.CLOSING: self._track,
            State.COOLDOWN: self._cool_down,
        }

    def advance(self, second: Second, *, minute_closed: bool) -> list[Event]:
        """Decide for the second that the history has just taken in."""
        self.coverage = second.coverage
        self.degraded = second.degraded or self._history.thin
        if second.composition_frozen:
            self.frozen_until = second.t + self._p.comp_freeze_s
        self._minute_closed = minute_closed
        return self._handlers[self.state](second.t)

    # States without a setup

    def _warm_up(self, t: int) -> list[Event]:
        if self.degraded or not self._history.warm:
            return []
        return [self._move(State.WATCHING, t, "warm")]

    def _watch(self, t: int) -> list[Event]:
        if self.degraded:
            self.detector.clear()
            return []
        if t < self.frozen_until:
            self.detector.rest(self._history, t)
            return []
        for direction, window_min in self.detector.update(self._history, t).items():
            self.setup = open_setup(self._history, self._base, direction, window_min)
            return [self._move(State.DIVERGENCE, t, "divergence")]
        return []

    def _cool_down(self, t: int) -> list[Event]:
        if t < self.cooldown_until:
            return []
        return [self._move(State.WATCHING, t, "cooled_down")]

    # DIVERGENCE and RESET

    def _follow_setup(self, t: int) -> list[Event]:
        setup = self._running_setup()
        if self.degraded:
            return self._freeze(setup, t)
        setup.gap_s = 0
        in_reset = self.state is State.RESET
        frozen = in_reset and setup.reset_type == "B"
        new_peak = self._follow(setup, peak_frozen=frozen)
        reason = self._broken(setup, t)
        if reason:
            return self._abort(setup, t, reason)
        if not in_reset:
            return self._seek_reset(setup, t)
        if new_peak and t - setup.reset_t > RESET_SETTLE_S:
            setup.stagnant_s = setup.triggered_s = 0
            return [self._move(State.DIVERGENCE, t, "new_peak")]
        return self._seek_entry(setup, t)

    def _follow(self, setup: Setup, *, peak_frozen: bool) -> bool:
        """Update the setup; True if a new peak has started."""
        new_peak = follow(setup, self._history, self._p, peak_frozen=peak_frozen)
        if self.state is not State.DIVERGENCE and (self._minute_closed or new_peak):
            refresh_patterns(setup, self._history, self._p)
        return new_peak

    def _freeze(self, setup: Setup, t: int) -> list[Event]:
        setup.gap_s += 1
        setup.stagnant_s = setup.triggered_s = 0
        if setup.gap_s >= self._p.gap_abort_s:
            return self._abort(setup, t, "data_gap")
        return []

    def _broken(self, setup: Setup, t: int) -> str:
        """Why the setup is over, empty if it is not."""
        p = self._p
        if self._history.context_sign == -setup.direction:
            return "context"
        if setup.closed > p.conv_max:
            return "unwound"
        if self._moved(setup) < -p.div_break_z:
            return "broke"
        if self.state is State.DIVERGENCE:
            return "div_timeout" if t - setup.detected_t > p.div_timeout_s else ""
        return "reset_timeout" if t - setup.reset_t > p.reset_timeout_s else ""

    def _moved(self, setup: Setup) -> float:
        """Price change since the anchor in the direction of the setup, in scales."""
        window = self._history.seconds
        return setup.direction * (window.x[window.last] - setup.x) / setup.f_x30

    def _seek_reset(self, setup: Setup, t: int) -> list[Event]:
        history, p = self._history, self._p
        usable = history.seconds.whole(RESET_WINDOW_S, p.hole_max)
        if usable and explosive(setup, history, p):
            return self._enter_reset(setup, t, "B")
        stagnant = usable and exhausted(setup, history, p)
        setup.stagnant_s = setup.stagnant_s + 1 if stagnant else 0
        if setup.stagnant_s >= p.reset_confirm_s:
            return self._enter_reset(setup, t, "A")
        if self._moved(setup) > p.div_run_z:
            return self._abort(setup, t, "ran")
        return []

    def _enter_reset(self, setup: Setup, t: int, kind: str) -> list[Event]:
        setup.reset_type, setup.reset_t = kind, t
        setup.triggered_s = 0
        refresh_patterns(setup, self._history, self._p)
        return [self._move(State.RESET, t, f"type_{kind.lower()}")]

    def _seek_entry(self, setup: Setup, t: int) -> list[Event]:
        history, p = self._history, self._p
        self.score = compute(setup, history, p)
        usable = history.seconds.whole(p.bias_w, p.hole_max)
        fires = usable and triggers(self.score, setup, p)
        setup.triggered_s = setup.triggered_s + 1 if fires else 0
        if setup.triggered_s < p.ready_confirm_s or t < setup.next_attempt_t:
            return []
        self.pending = entry.build(
            setup, self.score, history, p, coverage=self.coverage, record=self._view()
        )
        return [self.pending]

    def _abort(self, setup: Setup, t: int, reason: str) -> list[Event]:
        self.detector.block(setup.direction, t)
        return [self._move(State.WATCHING, t, reason)]

    # ENTRY_READY

    def _await_fill(self, t: int) -> list[Event]:
        setup, signal = self._running_setup(), self.signal
        assert signal is not None
        if t >= signal.valid_until:
            self.detector.block(setup.direction, t)
            self.cooldown_until = t + self._p.cooldown_s
            return [Expired(t), self._move(State.COOLDOWN, t, "expired")]
        reason = "data"
        if not self.degraded:
            self._follow(setup, peak_frozen=True)
            self.score = compute(setup, self._history, self._p)
            reason = self._invalid(setup, signal, self.score)
        if not reason:
            return []
        return [Cancelled(t, reason), *self._withdraw(setup, t, reason)]

    def _invalid(self, setup: Setup, signal: Signal, score: Score) -> str:
        """Why the waiting signal is no longer good, empty if it is."""
        p, window = self._p, self._history.seconds
        signed_x = setup.direction * window.x[window.last]
        lift = (signed_x - signal.extreme) / signal.r5
        rules = (
            (self._history.context_sign == -setup.direction, "context"),
            (signed_x <= signal.extreme, "extreme"),
            (lift > chase_limit(setup, p), "chase"),
            (score.z_spot < 0.0, "flow"),
            (score.total < p.min_score - p.ready_hyst, "score"),
        )
        return next((reason for broken, reason in rules if broken), "")

    def _withdraw(self, setup: Setup, t: int, reason: str) -> list[Event]:
        setup.triggered_s = 0
        if setup.signals >= self._p.max_signals_per_setup:
            return self._abort(setup, t, "signal_limit")
        return [self._move(State.RESET, t, reason)]

    # IN_POSITION and CLOSING

    def _hold(self, t: int) -> list[Event]:
        position = self._open_position()
        if not self._based(position, t):
            return []
        reason = exits.check(position, self._history, self._p, degraded=self.degraded)
        if not reason:
            return []
        position.exit_reason = reason
        record = self._view()
        closing = Exit(t, position.direction, reason, self._history.close, record)
        return [closing, self._move(State.CLOSING, t, reason)]

    def _track(self, t: int) -> list[Event]:
        # Only a position that has its baseline is ever being closed.
        exits.check(self._open_position(), self._history, self._p, degraded=self.degraded)
        return []

    def _based(self, position: Position, t: int) -> bool:
        """Whether exits may be judged; takes the baseline when its second has come."""
        if position.based:
            return True
        if t >= position.entry_t:
            position.c_spot, position.c_perp = self._history.seconds.latest
            position.entry_t, position.based = t, True
        return False

    # Answers and reports

    def accept(self, signal_id: str) -> list[Event]:
        asked, setup = self._asked(), self._running_setup()
        self.signal = accepted(asked, setup, signal_id, self._p)
        setup.signals += 1
        return [self._move(State.ENTRY_READY, asked.t, "trigger")]

    def refuse(self, reason: str) -> list[Event]:
        asked, setup = self._asked(), self._running_setup()
        setup.next_attempt_t = asked.t + self._p.reject_backoff_s
        return []

    def expire(self) -> list[Event]:
        asked = self._asked()
        self.detector.block(asked.direction, asked.t)
        self.cooldown_until = asked.t + self._p.cooldown_s
        return [self._move(State.COOLDOWN, asked.t, "expired")]

    def filled(self, t: int, trade_id: int, price: float) -> list[Event]:
        if self.position is not None and self.position.trade_id == trade_id:
            return []
        if self.position is not None:
            raise ValueError(f"trade {trade_id} filled while {self.position.trade_id} is open")
        if self.signal is None:
            raise ValueError(f"trade {trade_id} filled, but no signal was accepted; adopt it")
        self.position = filled_position(self.signal, t, trade_id, price, self._history)
        self.pending = None
        return [self._move(State.IN_POSITION, t, "filled")]

    def withdrawn(self, t: int, reason: str) -> list[Event]:
        if self.state is not State.ENTRY_READY:
            return []
        setup = self._running_setup()
        setup.next_attempt_t = t + self._p.reject_backoff_s
        return self._withdraw(setup, t, reason)

    def position_closed(self, t: int, reason: str) -> list[Event]:
        if self.position is None:
            return []
        self.detector.block(self.position.direction, t)
        self.cooldown_until = t + self._p.cooldown_s
        return [self._move(State.COOLDOWN, t, reason)]

    def adopt(self, known: OpenPosition) -> list[Event]:
        history = self._history
        if history.t is None or known.direction not in (1, -1):
            raise ValueError("a position can be adopted after the first second, direction +1 or -1")
        if self.position is not None and self.position.trade_id == known.trade_id:
            return []
        self.position = adopted_position(known, history, self._p)
        self.pending = None
        return [self._move(State.IN_POSITION, history.t, "adopted")]

    # Helpers

    def shift(self, spot: float, perp: float) -> None:
        """Add constants to the accumulators, and to what was remembered of them."""
        self._history.shift(spot, perp)
        for holder in (self.setup, self.position):
            if holder is not None:
                holder.shift(spot, perp)

    def _asked(self) -> Entry:
        if self.pending is None:
            raise ValueError("no entry waits for an answer")
        asked, self.pending = self.pending, None
        return asked

    def _running_setup(self) -> Setup:
        assert self.setup is not None
        return self.setup

    def _open_position(self) -> Position:
        assert self.position is not None
        return self.position

    @property
    def direction(self) -> int:
        if self.position is not None:
            return self.position.direction
        return self.setup.direction if self.setup is not None else 0

    def _move(self, state: State, t: int, reason: str) -> Transition:
        direction = self.direction
        if state in (State.WATCHING, State.COOLDOWN):
            self.setup = self.position = None
            self.detector.clear()
        elif state in IN_TRADE:
            self.setup = None
        if state not in (State.RESET, State.ENTRY_READY):
            self.score = None
        previous, self.state, self.since_t = self.state, state, t
        return Transition(t, previous, state, reason, direction)
