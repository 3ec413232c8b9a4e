from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from services.strategy.engine import SymbolEngine
from services.strategy.run import run
from services.strategy.types import Entry, Event, Second, State
from tests.unit.strategy.scenarios import LEAD_S, SCENARIOS, Market, generate


@cache
def market_of(name: str) -> Market:
    return generate(SCENARIOS[name])


@cache
def events_of(name: str) -> list[Event]:
    return list(run(SymbolEngine("BTC"), market_of(name).seconds()))


class Paused:
    """An engine stopped in the middle of S1, and the seconds that follow."""

    def __init__(self, engine: SymbolEngine, entry: Entry | None, next_index: int) -> None:
        self.engine = engine
        self.next_index = next_index
        self._entry = entry

    @property
    def entry(self) -> Entry:
        assert self._entry is not None
        return self._entry

    def seconds(self, count: int) -> Iterator[Second]:
        first = self.next_index
        self.next_index += count
        return market_of("S1").seconds(first, first + count)

    def step(self, count: int) -> list[Event]:
        return [event for second in self.seconds(count) for event in self.engine.step(second)]

    def step_until(self, state: State, *, at_most: int = 3000) -> list[Event]:
        """Step until the engine is in `state`; entries along the way are refused."""
        events: list[Event] = []
        for _ in range(at_most):
            if self.engine.state is state:
                return events
            for event in self.step(1):
                events.append(event)
                if isinstance(event, Entry):
                    self.engine.refuse("test")
        raise AssertionError(f"{state} not reached")


@cache
def _milestones() -> dict[str, Paused]:
    engine = SymbolEngine("BTC")
    found: dict[str, Paused] = {}
    for i, second in enumerate(market_of("S1").seconds()):
        events = engine.step(second)
        entry = next((event for event in events if isinstance(event, Entry)), None)
        if entry is not None:
            found["trigger"] = Paused(engine, entry, i + 1)
            return found
        if i == LEAD_S:
            found["watching"] = Paused(copy.deepcopy(engine), None, i + 1)
        if engine.state.value not in found and events:
            found[engine.state.value] = Paused(copy.deepcopy(engine), None, i + 1)
    raise AssertionError("S1 gave no entry")


@pytest.fixture
def paused() -> Callable[[str], Paused]:
    """`paused("trigger")`: at the entry; "DIVERGENCE", "RESET": just entered; "watching": t = 0."""

    def pause(milestone: str) -> Paused:
        return copy.deepcopy(_milestones()[milestone])

    return pause
