"""Seconds that certainly lead to no event, processed many at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from services.strategy import exits
from services.strategy.block import Block
from services.strategy.history import History
from services.strategy.holding import Holding, surely_held
from services.strategy.intake import Intake, sound
from services.strategy.machine import Machine
from services.strategy.params import Params
from services.strategy.path import Path, Span
from services.strategy.pursuit import pursuable, pursue, surely_goes_on
from services.strategy.types import State

QUIET = (
    State.WARMUP,
    State.WATCHING,
    State.COOLDOWN,
    State.DIVERGENCE,
    State.IN_POSITION,
)


def reach(machine: Machine, t: int) -> int | None:
    """Most seconds that can be skipped from `t` on in the present state; None: no limit."""
    match machine.state:
        case State.WARMUP | State.WATCHING | State.DIVERGENCE:
            return None
        case State.COOLDOWN:
            return max(0, machine.cooldown_until - t)
        case State.IN_POSITION:
            based = machine.position is not None and machine.position.based
            return None if based and not machine.degraded else 0
        case _:
            return 0


def skip(history: History, machine: Machine, params: Params, block: Block) -> int:
    """Process leading seconds of `block` that lead to no event; their number.

    History and machine are left bit for bit as if each had been processed alone.
    """
    window, t = history.seconds, history.t
    if t is None or block.t != t + 1 or machine.state not in QUIET or not window.length:
        return 0
    count = min(len(block), sound(block), window.capacity)
    inside = block.t % 60 > 0
    if machine.pending is not None or (inside and history.open_minute is None):
        return 0
    if machine.state is State.WATCHING and window.length <= 60 * max(params.div_windows):
        return 0
    if machine.state is State.IN_POSITION and window.length <= exits.SLOW_S:
        return 0
    most = reach(machine, block.t)
    count = count if most is None else min(count, most)
    setup = machine.setup
    if setup is not None and not pursuable(setup, history, params, block.t + count):
        return 0
    return _Quiet(history, machine, params, block, count).run() if count > 0 else 0


class _Quiet:
    def __init__(
        self, history: History, machine: Machine, params: Params, block: Block, count: int
    ) -> None:
        self._history, self._machine, self._p, self._block = history, machine, params, block
        self._degraded = block.degraded.tolist()
        self._frozen = np.flatnonzero(block.frozen[:count]).tolist()
        self._intake = Intake(history, block, count)
        # A minute's last second is judged with the scales that its close has just changed.
        edges = sorted({0, *range(59 - block.t % 60, count, 60), count})
        self._spans: list[Span] = list(pairwise(edges))
        self._path: Path | None = None
        self._holding: Holding | None = None
        first = self._intake.first
        if machine.state is State.WATCHING:
            self._path = Path(history, params, first, self._spans)
        elif machine.position is not None:
            self._holding = Holding(machine.position, history, params, block.t, first)

    def run(self) -> int:
        intake, block = self._intake, self._block
        for k, (start, stop) in enumerate(self._spans):
            if (block.t + start) % 60 == 59:
                if not self._may_close(start):
                    break
                intake.advance(start + 1)
            quiet = self._judge(k, (start, stop))
            if start + quiet > intake.done:
                intake.advance(start + quiet)
            if quiet < stop - start:
                break
        if intake.done:
            last = intake.done - 1
            machine = self._machine
            machine.coverage = float(block.coverage[last])
            machine.degraded = self._degraded[last] or self._history.thin
        return intake.done

    def _may_close(self, i: int) -> bool:
        """Whether second `i`, the last one of a minute, leads to no event whatever the scales."""
        machine, history, p = self._machine, self._history, self._p
        if machine.state is State.WATCHING:
            return max(machine.detector.held.values()) < p.div_confirm_s - 1
        if machine.state is State.WARMUP:
            return self._degraded[i] or history.x_closes.length + 1 < p.warm_min
        t, at = self._block.t + i, self._intake.first + i
        if machine.setup is not None:
            goes_on = surely_goes_on(machine.setup, history, p, t, at)
            return goes_on and not self._degraded[i]
        if machine.position is not None:
            return surely_held(machine.position, p, t) and not self._degraded[i]
        return True

    def _judge(self, k: int, span: Span) -> int:
        """Number of leading seconds of span `k` without an event; counts them in the machine."""
        match self._machine.state:
            case State.WATCHING:
                quiet = self._watch(k, span)
            case State.WARMUP:
                quiet = self._warm_up(span)
            case State.DIVERGENCE:
                quiet = self._pursue(span)
            case State.IN_POSITION:
                quiet = self._hold(span)
            case _:
                quiet = span[1] - span[0]
        for i in self._frozen:
            if span[0] <= i < span[0] + quiet:
                self._machine.frozen_until = self._block.t + i + self._p.comp_freeze_s
        return quiet

    def _warm_up(self, span: Span) -> int:
        history, start, stop = self._history, *span
        if history.x_closes.length < self._p.warm_min or history.thin:
            return stop - start
        for i in range(start, stop):
            length = history.seconds.length + i + 1 - self._intake.done
            if not self._degraded[i] and length > 60 * max(self._p.div_windows):
                return i - start
        return stop - start

    def _watch(self, k: int, span: Span) -> int:
        path, detector = self._path, self._machine.detector
        assert path is not None
        if self._history.thin:
            detector.clear()
            return span[1] - span[0]
        possible = path.possible(k)
        if not possible and not detector.blocked_since:
            detector.clear()
            return span[1] - span[0]
        return self._count(path, span, possible=possible)

    def _count(self, path: Path, span: Span, *, possible: bool) -> int:
        """One second after the other, from what the path says of each."""
        machine, detector, p = self._machine, self._machine.detector, self._p
        start, stop = span
        nothing = [False] * (stop - start)
        rising = path.holds(1, span).tolist() if possible else nothing
        falling = path.holds(-1, span).tolist() if possible else nothing
        gaps = path.gaps(span) if detector.blocked_since else [None] * (stop - start)
        frozen_until = machine.frozen_until
        for i in range(start, stop):
            t = self._block.t + i
            if i in self._frozen:
                frozen_until = t + p.comp_freeze_s
            if self._degraded[i]:
                detector.clear()
                continue
            at = i - start
            freed = detector.freed(gaps[at], t)
            resting = t < frozen_until
            up = detector.held[1] + 1 if rising[at] and not resting else 0
            down = detector.held[-1] + 1 if falling[at] and not resting else 0
            blocked = detector.blocked_since.keys() - freed
            long = up >= p.div_confirm_s and 1 not in blocked
            if long or (down >= p.div_confirm_s and -1 not in blocked):
                return at
            for direction in freed:
                del detector.blocked_since[direction]
            detector.held[1], detector.held[-1] = up, down
        return stop - start

    def _pursue(self, span: Span) -> int:
        setup, (start, stop) = self._machine.setup, span
        assert setup is not None
        closed = self._intake.done > start  # a minute, with its first second
        if self._history.thin:
            if closed:
                setup.gap_s += 1
                setup.stagnant_s = setup.triggered_s = 0
            return int(closed)
        t, first = self._block.t + start, self._intake.first + start
        count = self._trusted(start, stop) - start
        return pursue(setup, self._history, self._p, t, first, count)

    def _hold(self, span: Span) -> int:
        holding, position, (start, stop) = self._holding, self._machine.position, span
        assert holding is not None
        assert position is not None
        closed = self._intake.done > start  # a minute, with its first second
        if closed:
            exits.check(position, self._history, self._p, degraded=self._history.thin)
        if self._history.thin:
            return int(closed)
        at = start + closed
        return closed + holding.count(at, self._trusted(at, stop))

    def _trusted(self, start: int, stop: int) -> int:
        """The first degraded second of [start, stop), `stop` if there is none."""
        return next((i for i in range(start, stop) if self._degraded[i]), stop)
