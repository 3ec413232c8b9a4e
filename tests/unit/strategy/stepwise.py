"""Follows a market second by second and notes what stood between each state and the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isclose
from typing import NamedTuple

from services.strategy.condition import GUARD, LEAST, STEP, Condition
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.progress import Progress
from services.strategy.types import Entry, Event, Exit, Second, State


class Move(NamedTuple):
    """A transition: how things stood in its second, just before it, and the second before."""

    t: int
    previous: State
    state: State
    reason: str
    then: Progress
    before: Progress | None

    def __str__(self) -> str:
        return f"{self.t} {self.previous} -> {self.state} ({self.reason})"


class Stay(NamedTuple):
    """What was told after a second without a transition; `odd`: figures at odds with `met`."""

    t: int
    state: State
    degraded: bool
    ready: bool
    broken: list[str]
    odd: list[str]
    unmet: frozenset[str]


def ready(conditions: list[Condition]) -> bool:
    """Whether the step is due: every condition without a way is met, and all of any one way."""
    steps = [c for c in conditions if c.kind == STEP]
    ways = {c.way for c in steps if c.way}
    return all(c.met for c in steps if not c.way) and (
        not ways or any(met_way(conditions, way) for way in ways)
    )


def met_way(conditions: list[Condition], way: str) -> bool:
    return all(c.met for c in conditions if c.kind == STEP and c.way == way)


def at_odds(condition: Condition) -> bool:
    """Whether the figures say another thing than `met`; on the bound itself it may be either."""
    _, _, met, have, need, bound, *_ = condition
    if have is None or need is None or isclose(have, need, rel_tol=1e-9, abs_tol=1e-9):
        return False
    return met != (have > need if bound == LEAST else have < need)


def broken(conditions: list[Condition]) -> list[str]:
    """Codes of the guards that are not met."""
    return [c.code for c in conditions if c.kind == GUARD and not c.met]


@dataclass
class Stepwise:
    """`fill_after_s`: seconds until a fill, None: there is none. `refusing`: no signal goes out.

    Told from second `since` on. `stays`: what was told after seconds without a transition.
    """

    params: Params = field(default_factory=Params)
    fill_after_s: int | None = 0
    refusing: bool = False
    since: int = 0
    moves: list[Move] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    refused: list[Progress] = field(default_factory=list)

    def follow(self, seconds: Iterable[Second]) -> Stepwise:
        """Follow these seconds from a new engine on."""
        self.engine = SymbolEngine("BTC", self.params)
        machine, self._trades = self.engine._machine, 0
        self._before: Progress | None = None
        plain: Callable[..., Event] = machine._move

        def move(state: State, t: int, reason: str) -> Event:
            if t >= self.since:
                before = self._before if self._told(machine.state) else None
                then = self.engine.progress()
                self.moves.append(Move(t, machine.state, state, reason, then, before))
            return plain(state, t, reason)

        machine._move = move  # type: ignore[assignment,method-assign]
        for second in seconds:
            count = len(self.moves)
            for event in self.engine.step(second):
                self._answer(event)
            self._fill(second.t)
            if second.t < self.since:
                continue
            self._before = self.engine.progress()
            if len(self.moves) == count:
                self.stays.append(_stay(self._before))
        return self

    def _told(self, state: State) -> bool:
        return self._before is not None and self._before.state is state

    def _answer(self, event: Event) -> None:
        engine = self.engine
        match event:
            case Entry() if self.refusing:
                self.refused.append(engine.progress())
                engine.refuse("test")
            case Entry():
                self._trades += 1
                engine.accept(f"{self._trades}")
            case Exit():
                engine.position_closed(event.t, event.reason)

    def _fill(self, t: int) -> None:
        engine = self.engine
        waiting = engine.state is State.ENTRY_READY and self.fill_after_s is not None
        if waiting and engine.valid_until is not None:
            asked_t = engine.valid_until - self.params.entry_window_s
            if t - asked_t >= (self.fill_after_s or 0):
                engine.filled(t, self._trades, engine.view()["price"])


def _stay(seen: Progress) -> Stay:
    found = seen.conditions
    assert seen.t is not None
    return Stay(
        seen.t,
        seen.state,
        seen.degraded,
        ready(found),
        broken(found),
        [c.text for c in found if at_odds(c)],
        frozenset(c.code for c in found if not c.met),
    )


def hindered(
    seconds: Iterable[Second], spans: Iterable[range], frozen: Iterable[int] = ()
) -> Iterator[Second]:
    """Seconds of `spans` are not to be trusted; the set of markets changes in `frozen` ones."""
    bad, changed = {t for span in spans for t in span}, set(frozen)
    for second in seconds:
        yield second._replace(degraded=second.t in bad, composition_frozen=second.t in changed)
