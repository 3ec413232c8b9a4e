"""Offline runs: feed seconds to an engine whose entries and exits are filled at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.strategy.engine import SymbolEngine
from services.strategy.types import Entry, Event, Exit, Second


def run(engine: SymbolEngine, seconds: Iterable[Second]) -> Iterator[Event]:
    """All events, in order; every fill happens in the second of its decision at its close."""
    trades = 0
    for second in seconds:
        for event in step(engine, second, trades + 1):
            trades += isinstance(event, Entry)
            yield event


def step(engine: SymbolEngine, second: Second, trade_id: int) -> Iterator[Event]:
    """The events of one second; an entry in it becomes trade `trade_id`, an exit ends its trade."""
    closing: Exit | None = None
    for event in engine.step(second):
        yield event
        if isinstance(event, Entry):
            yield from engine.accept(f"{event.setup_id}:{trade_id}")
            yield from engine.filled(event.t, trade_id, event.entry_price)
        elif isinstance(event, Exit):
            closing = event
    if closing is not None:
        yield from engine.position_closed(closing.t, closing.reason)
