"""Describing a symbol for the live page: CPU time per symbol and second, in each state."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from services.core.views import Views
from services.strategy.types import State
from services.trading.broadcast import AT_ONCE
from services.trading.permits import Permits
from services.trading.views import view_of
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.trading.played import SYMBOL, Played

MESSAGES = 60
SYMBOLS = 100
_encode = msgspec.json.Encoder().encode


def run() -> dict[str, Any]:
    """A message of 100 symbols in the same state, made and encoded as strategy-runner does it.

    `us_STATE`: CPU time per symbol, the median of many messages; `bytes_STATE`: of one symbol in
    JSON. `at_once_ms`: the longest that a second which comes in may have to wait for it, as the
    symbols before others get a turn are `AT_ONCE`.
    """
    at = Played("S3")
    begin = at.start + LEAD_S
    figures: dict[str, Any] = {}
    for state, reach in _steps(at, begin):
        reach()
        if at.state is not state:
            raise RuntimeError(f"{at.state} instead of {state}")
        figures |= _measured(at, str(state).lower())
    slowest = max(value for name, value in figures.items() if name.startswith("us_"))
    return {**figures, "at_once_ms": round(AT_ONCE * slowest / 1000, 3)}


def _steps(at: Played, begin: int) -> list[tuple[State, Callable[[], None]]]:
    def enter() -> None:
        at.until(State.ENTRY_READY)

    def fill() -> None:
        at.fill()
        at.to(begin + 3_600)

    return [
        (State.WARMUP, lambda: at.to(at.start + 7_234)),
        (State.WATCHING, lambda: at.to(begin + 1_150)),
        (State.DIVERGENCE, lambda: at.to(begin + 2_700)),
        (State.RESET, lambda: at.to(begin + 3_050)),
        (State.ENTRY_READY, enter),
        (State.IN_POSITION, fill),
    ]


def _measured(at: Played, state: str) -> dict[str, Any]:
    taken = []
    for _ in range(MESSAGES):
        begun = time.process_time_ns()
        message = _message(at)
        taken.append((time.process_time_ns() - begun) / 1000 / SYMBOLS)
    return {
        f"us_{state}": round(statistics.median(taken), 1),
        f"bytes_{state}": len(message) // SYMBOLS,
    }


def _message(at: Played) -> bytes:
    permits = Permits(at.desk, {SYMBOL}.__contains__)
    views = [view_of(at.trader, permits, at.now_ms()) for _ in range(SYMBOLS)]
    return _encode(Views(replica="bench", ts_ms=at.now_ms(), views=views))
