"""What holds an entry back whatever its set-up, told beforehand: the validator has the last word.

For people; no decision rests on it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from services.core.views import Wait
from services.signal_validator import DAY_MS
from services.trading.desk import Desk
from services.trading.symbol import SymbolTrader

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


class Permits:
    """The conditions of all entries and those of a symbol's; made anew for every message.

    `held`: whether the lease on a symbol is certain.
    """

    def __init__(self, desk: Desk, held: Callable[[str], bool]) -> None:
        self._validator, self._portfolio = desk.validator, desk.portfolio
        self._held = held
        self._now_ms = desk.now_ms()
        self._taken = {s for s, trader in desk.traders.items() if trader.takes_slot}
        self._taken |= desk.portfolio.symbols
        self._minute = sum(self._since(s, MINUTE_MS) for s in desk.traders)
        self._common = self._of_all()

    def of(self, trader: SymbolTrader, direction: int) -> list[Wait]:
        """Conditions of an entry in `direction`, 0 if it is open."""
        return self._common + self._data(trader) + self._symbol(trader, direction)

    def _of_all(self) -> list[Wait]:
        limits, portfolio = self._validator.limits, self._portfolio
        taken, slots = len(self._taken), limits.max_open_positions
        waits = [
            _flag("halt", not portfolio.halted, portfolio.halted or "the kill switch is off"),
            _flag(
                "executor",
                not portfolio.problem,
                portfolio.problem or "no trouble known with freqtrade",
            ),
            _most("slots", f"{taken} of {slots} positions taken", taken, slots, "slots"),
            _flag(
                "daily_loss",
                not portfolio.daily_loss_reached,
                "the day's loss is at its limit"
                if portfolio.daily_loss_reached
                else "the day's loss is within its limit",
            ),
        ]
        if self._minute >= limits.per_minute:
            text = f"{self._minute} of {limits.per_minute} signals in a minute"
            waits.append(_most("rate", text, self._minute, limits.per_minute, "signals"))
        return waits

    def _data(self, trader: SymbolTrader) -> list[Wait]:
        limits = self._validator.limits
        coverage = trader.last.coverage if trader.last else 0.0
        waits = [
            Wait(
                code="coverage",
                text=f"coverage of the volume {coverage:.2f} of {limits.coverage_min:.2f}",
                met=coverage >= limits.coverage_min,
                have=coverage,
                need=limits.coverage_min,
                unit="share",
                kind="entry",
            )
        ]
        age_s = trader.aggregator.reference.age(trader.engine.t or 0)
        if age_s is None:
            waits.append(_flag("price", False, "the market of the price has not traded yet"))
        elif age_s > limits.price_age_s:
            text = f"newest price {age_s} s old, at most {limits.price_age_s} s"
            waits.append(_most("price", text, age_s, limits.price_age_s, "s"))
        return waits

    def _symbol(self, trader: SymbolTrader, direction: int) -> list[Wait]:
        """Told only while they are in the way."""
        symbol, waits = trader.names.symbol, []
        if not self._held(symbol):
            waits.append(_flag("lease", False, "the lease on the symbol is not certain"))
        if symbol in self._taken:
            waits.append(_flag("taken", False, "a position is open in the symbol"))
        limits, count = self._validator.limits, self._since(symbol, HOUR_MS)
        if count >= limits.per_symbol_and_hour:
            text = f"{count} of {limits.per_symbol_and_hour} signals in an hour"
            waits.append(_most("hourly", text, count, limits.per_symbol_and_hour, "signals"))
        return waits + self._repeated(symbol, trader, direction)

    def _repeated(self, symbol: str, trader: SymbolTrader, direction: int) -> list[Wait]:
        memory, waits = self._validator.memory(symbol), []
        setup_id = trader.engine.setup_id
        at_ms = memory.setups.get(setup_id) if setup_id else None
        if at_ms is not None and self._now_ms - at_ms < DAY_MS:
            waits.append(_flag("repeated", False, "this set-up has had its signal"))
        side = {1: "LONG", -1: "SHORT"}.get(direction, "")
        last_ms, apart_s = memory.actions.get(side), self._validator.limits.dedup_s
        if last_ms is not None and self._now_ms - last_ms < apart_s * 1000:
            have_s = (self._now_ms - last_ms) // 1000
            text = f"the last {side.lower()} signal {have_s} s ago, at least {apart_s} s"
            waits.append(
                Wait(
                    code="apart", text=text, met=False, have=have_s, need=apart_s, unit="s",
                    kind="entry",
                )
            )  # fmt: skip
        return waits

    def _since(self, symbol: str, ms: int) -> int:
        entries = self._validator.memory(symbol).entries
        return len(entries) - bisect_right(entries, self._now_ms - ms) if entries else 0


def _flag(code: str, met: bool, text: str) -> Wait:
    return Wait(code=code, text=text, met=met, kind="entry")


def _most(code: str, text: str, have: int, need: int, unit: str) -> Wait:
    """Fewer than `need`, or an age that is over it."""
    met = have < need
    return Wait(
        code=code, text=text, met=met, have=have, need=need, bound="most", unit=unit, kind="entry"
    )
