"""Offline runs: feed seconds to an engine whose entries and exits are filled at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.strategy.engine import SymbolEngine
from services.strategy.types import Entry, Event, Exit, Second


def run(engine: SymbolEngine, seconds: Iterable[Second]) -> Iterator[Event]:
    """All events, in order; every fill happens in the second of its decision at its close."""
    trades = 0
    for second in seconds:
        closing: Exit | None = None
        for event in engine.step(second):
            yield event
            if isinstance(event, Entry):
                trades += 1
                yield from engine.accept(f"{event.setup_id}:{trades}")
                yield from engine.filled(event.t, trades, event.entry_price)
            elif isinstance(event, Exit):
                closing = event
        if closing is not None:
            yield from engine.position_closed(closing.t, closing.reason)
