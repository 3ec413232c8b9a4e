"""From an accepted entry, or from what the execution engine knows, to a position."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

from services.strategy.entry import level
from services.strategy.exits import Position
from services.strategy.history import History
from services.strategy.params import Params
from services.strategy.reset import Setup
from services.strategy.types import Entry, OpenPosition


@dataclass(frozen=True, slots=True)
class Signal:
    """The last accepted entry. `extreme`, `level`: signed log prices of reset and invalidation."""

    signal_id: str
    setup_id: str
    direction: int
    t: int
    valid_until: int
    extreme: float
    level: float
    r5: float
    score: float

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def accepted(entry: Entry, setup: Setup, signal_id: str, params: Params) -> Signal:
    """What must be remembered of an entry until its fill."""
    return Signal(
        signal_id,
        entry.setup_id,
        entry.direction,
        entry.t,
        entry.t + params.entry_window_s,
        setup.extreme,
        level(setup, params),
        setup.r5,
        entry.score,
    )


def filled_position(
    signal: Signal, t: int, trade_id: int, price: float, history: History
) -> Position:
    """Position filled in second `t`, with its baseline unless that second is still to come.

    Raises `ValueError` if the second has left the window.
    """
    position = Position(
        trade_id,
        signal.signal_id,
        signal.setup_id,
        signal.direction,
        t,
        price,
        signal.level,
        signal.r5,
        signal.score,
    )
    if history.t is None or t > history.t:
        return position
    window, i = history.seconds, history.index(t)
    position.c_spot, position.c_perp = window.c_spot[i], window.c_perp[i]
    path = window.slice(window.c_spot, window.last - i + 1)
    position.best_spot = float((signal.direction * (path - position.c_spot)).max())
    position.based = True
    return position


def adopted_position(known: OpenPosition, history: History, params: Params) -> Position:
    """Position opened before this process started; its baseline follows from the change since."""
    r5 = history.r5 if known.r5 is None else known.r5
    if known.invalidation_price is None:
        farthest = (params.chase_max + params.rb_buf) * r5
        lowest = known.direction * log(known.entry_price) - farthest
    else:
        lowest = known.direction * log(known.invalidation_price)
    c_spot, c_perp = history.seconds.latest
    return Position(
        known.trade_id,
        known.signal_id,
        known.setup_id,
        known.direction,
        known.entry_t,
        known.entry_price,
        lowest,
        r5,
        known.score,
        c_spot - known.spot_since_entry,
        c_perp - known.perp_since_entry,
        based=True,
        best_spot=max(0.0, known.best_spot, known.direction * known.spot_since_entry),
    )
