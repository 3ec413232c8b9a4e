"""What the execution engine holds, as far as it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from services.freqtrade_client import Trade
from services.market.symbols import base_of_pair, symbol_of

KNOWN_FOR_MS = 150_000
DAY_MS = 86_400_000


def symbol_of_pair(pair: str) -> str | None:
    """The canonical symbol, None for a pair that is not traded here."""
    try:
        return symbol_of(base_of_pair(pair))
    except ValueError:
        return None


class Portfolio:
    """Open positions, the day's result, and whether either is known.

    Nothing is assumed: before the first answer of freqtrade, and when the last one is older than
    150 s, `problem` says so and no entry is allowed. `max_daily_loss`: share of the equity at
    00:00 UTC after whose loss the day brings no more entries.
    """

    def __init__(
        self, *, integrated: bool, now_ms: Callable[[], int], max_daily_loss: float = 0.06
    ) -> None:
        self._max_daily_loss = max_daily_loss
        self._integrated = integrated
        self._now_ms = now_ms
        self._updated_ms: int | None = None
        self._error = "has not answered yet"
        self._open: dict[str, Trade] = {}
        self._day = -1
        self._profits: dict[int, float] = {}  # trade -> unrealised profit, quote
        self._carried: dict[int, float] = {}  # the same as of the last midnight
        self.reserved: frozenset[str] = frozenset()
        self.mode: Literal["live", "paper", "backtest"] = "paper"
        self.daily_loss_reached = False
        self.halted = ""

    @property
    def blocked(self) -> str:
        """Why nothing may be entered; empty if entries are allowed. `halted`: the kill switch."""
        return self.halted or self.problem

    @property
    def problem(self) -> str:
        """Why the state of the execution engine is not known; empty if it is."""
        if not self._integrated:
            return ""
        if self._updated_ms is None or self._error:
            return f"freqtrade {self._error}"
        age_ms = self._now_ms() - self._updated_ms
        return f"freqtrade silent for {age_ms // 1000} s" if age_ms > KNOWN_FOR_MS else ""

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols with an open trade, or `reserved` by another replica for a signal."""
        return self.reserved.union(self._open)

    def lost(self, error: str) -> None:
        """freqtrade did not answer."""
        self._error = error

    def update(
        self, opened: Sequence[Trade], closed: Iterable[Trade], equity: float, dry_run: bool
    ) -> None:
        """Take over what freqtrade answered. `equity`: stake currency, open profits included.

        The day's result is that of all trades since 00:00 UTC. What those that were open then had
        gained before is left out as far as it was seen; deposits and withdrawals do not count.
        """
        before_ms, self._updated_ms = self._updated_ms, self._now_ms()
        self._error = ""
        if self._day != self._updated_ms // DAY_MS:
            seen = before_ms is not None and self._updated_ms - before_ms <= KNOWN_FOR_MS
            self._carried = self._profits if seen else {}
            self._day = self._updated_ms // DAY_MS
        self._profits = {t.trade_id: t.profit_abs or 0.0 for t in opened}
        self.mode = "paper" if dry_run else "live"
        self._open = {s: t for t in opened if (s := symbol_of_pair(t.pair))}
        midnight = self._updated_ms - self._updated_ms % DAY_MS
        profits = self._profits | {
            t.trade_id: t.close_profit_abs or 0.0
            for t in closed
            if (t.close_timestamp or 0) >= midnight
        }
        result = sum(profit - self._carried.get(trade, 0.0) for trade, profit in profits.items())
        at_midnight = equity - result
        self.daily_loss_reached = at_midnight > 0 and result <= -self._max_daily_loss * at_midnight

    def closed(self, symbol: str) -> None:
        """A fill says that the symbol's trade has ended."""
        self._open.pop(symbol, None)
