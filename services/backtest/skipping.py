"""Seconds in which certainly nothing happens need not be looked at one by one."""

from __future__ import annotations

from services.market.columns import Columns
from services.strategy.types import State
from services.trading.symbol import SymbolTrader

QUIET = frozenset({State.WARMUP, State.WATCHING, State.COOLDOWN})


def skip(trader: SymbolTrader, columns: Columns, t: int, to_s: int) -> int:
    """Process seconds from `t` on that lead to no event; the first one that was not processed.

    The trader is left exactly as if each of them had been stepped.
    """
    return trader.skip(columns, t, to_s)
