"""All that may keep signals from being entered on, in one place; exits never ask here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from services.core import halt
from services.core.halt import HaltMemory
from services.core.records import Signal
from squeezeflow import guards, rules
from squeezeflow.alarms import Alarms
from squeezeflow.daily import DAY_MS, Book, DailyLoss
from squeezeflow.guards import Guard

LOOK_EVERY_MS = 5_000


class Ledger(Book, Protocol):
    """freqtrade's database, as far as it is asked here."""

    def has_trade(self, signal_id: str) -> bool:
        """Whether a signal has become a trade, open or closed."""

    def open_trades(self) -> Sequence[Any]:
        """Open trades."""

    def open_tags(self) -> Mapping[str, str | None]:
        """Pair -> entry tag of every open trade."""

    def lock_reasons(self, pair: str, side: str) -> Sequence[str | None]:
        """Reasons of the locks on entries of `pair`, longest first."""


class Venue(Protocol):
    """Positions and stops on the exchange (`venue.Watch`)."""

    @property
    def is_blind(self) -> bool:
        """Whether they are not known."""

    def unknown(self, open_trades: Sequence[Any]) -> list[str]:
        """Those that no trade accounts for."""

    def missing(self, open_trades: Sequence[Any]) -> list[str]:
        """What trades hold and the exchange does not."""

    def stray_stops(self, open_trades: Sequence[Any]) -> list[str]:
        """Stops on the exchange that belong to no trade."""

    def unprotected(self, open_trades: Sequence[Any]) -> list[str]:
        """Pairs of trades without a stop on the exchange."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What freqtrade itself answers and does. `balance`: stake currency without open profits.

    `is_closing(pair, tag)`: whether a trade has been asked to end. `lock(until, reason)`: no entry
    in any pair until then.
    """

    max_open_trades: float
    balance: Callable[[], float]
    is_closing: Callable[[str, str | None], bool]
    lock: Callable[[datetime, str], object]


class Gatekeeper:
    """Asks every guard in turn. `venue` is None where money is simulated.

    A guard more is a method more in `guards`.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        *,
        halts: HaltMemory,
        daily: DailyLoss,
        alarms: Alarms,
        venue: Venue | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._daily = daily
        self._alarms = alarms
        self._venue = venue
        self._now_ms = now_ms
        self._look_due_ms = 0
        self._strangers: list[str] = []
        self._missing: list[str] = []
        self._strays: list[str] = []
        self._unprotected: list[str] = []
        self._day_lost = False
        self.halts = halts
        self.guards: list[Guard] = [self._halted, self._venue_doubt, self._locked, self._slots]

    @property
    def closed(self) -> str:
        """Why nothing at all is entered, for the operator; empty if entries are allowed."""
        if text := halt.describe(self.halts.current):
            return text
        if self._strangers:
            return f"positions unknown to freqtrade: {', '.join(self._strangers)}"
        if self._missing:
            return f"not held on the exchange: {', '.join(self._missing)}"
        if self._strays:
            return f"stops unknown to freqtrade: {', '.join(self._strays)}"
        if self._unprotected:
            return f"no stop on the exchange: {', '.join(self._unprotected)}"
        if self._venue is not None and self._venue.is_blind:
            return "the exchange does not tell its positions"
        return "daily loss reached" if self._day_lost else ""

    def learn(self, raw: bytes | None) -> bool:
        """Take note of the kill switch as it stands in Redis; whether that was news."""
        if not self.halts.learn(raw, self._now_ms()):
            return False
        text = halt.describe(self.halts.current) or f"lifted by {self.halts.current.by}"
        self._alarms.say("warning", "halt", f"entries {text}", self._now_ms())
        return True

    def mark(self, trade_id: int, profit: float) -> None:
        """Note the profit an open trade would have now, in the stake currency."""
        self._daily.mark(trade_id, profit, self._now_ms())

    def look(self) -> None:
        """Look at the exchange's positions and stops; at the day's result every few seconds."""
        if self._venue is not None:
            trades = self._ledger.open_trades()
            self._strangers = self._venue.unknown(trades)
            self._tell(
                "unknown_position",
                self._strangers,
                "no trade of freqtrade's accounts for {}: close them on the exchange, or import "
                "them; no entries until then",
            )
            self._missing = self._venue.missing(trades)
            self._tell(
                "missing_position",
                self._missing,
                "freqtrade's trades hold {} and the exchange does not: reload the trade in FreqUI, "
                "which looks its orders up there; no entries until then",
            )
            self._strays = self._venue.stray_stops(trades)
            self._tell(
                "stray_stop",
                self._strays,
                "stops rest on the exchange that belong to no trade and would end a later one: {}. "
                "Cancel them there; no entries until then",
            )
            self._unprotected = self._venue.unprotected(trades)
            self._tell(
                "unprotected_position",
                self._unprotected,
                "no stop rests on the exchange for {}: see freqtrade's log for its refusal; stops "
                "hold only while freqtrade runs, no entries until then",
            )
        if self._now_ms() >= self._look_due_ms:
            self._look_due_ms = self._now_ms() + LOOK_EVERY_MS
            self._judge_day()

    def _tell(self, code: str, found: Sequence[str], text: str) -> None:
        if found:
            self._alarms.say("critical", code, text.format(", ".join(found)), self._now_ms())
        else:
            self._alarms.over(code, self._now_ms())

    def reason(self, signal: Signal) -> str | None:
        """Why nothing may be entered on this signal now; None if it may."""
        self._judge_day()
        reason = guards.first_reason(self.guards, signal)
        # What became a trade before is no news, whatever is closed by now.
        return None if reason and self._ledger.has_trade(signal.signal_id) else reason

    def _judge_day(self) -> None:
        now_ms = self._now_ms()
        self._day_lost = guards.DAILY_LOSS in self._ledger.lock_reasons("*", "*")
        if self._day_lost or not self._daily.reached(self._engine.balance(), now_ms):
            return
        # freqtrade keeps the lock across restarts and rounds its end up to the next candle.
        ends_s = (now_ms // DAY_MS + 1) * DAY_MS / 1000 - 1
        self._engine.lock(datetime.fromtimestamp(ends_s, UTC), guards.DAILY_LOSS)
        self._day_lost = True
        text = f"{-self._daily.result:.2f} lost since 00:00 UTC: no more entries today"
        self._alarms.say("warning", guards.DAILY_LOSS, text, now_ms)

    def _halted(self, signal: Signal) -> str | None:
        return guards.HALTED if self.halts.current.halted else None

    def _venue_doubt(self, signal: Signal) -> str | None:
        if self._strangers:
            return "unknown_position"
        if self._missing:
            return "missing_position"
        if self._strays:
            return "stray_stop"
        if self._unprotected:
            return "unprotected_position"
        return "positions_not_known" if self._venue is not None and self._venue.is_blind else None

    def _locked(self, signal: Signal) -> str | None:
        return guards.lock_reason(self._ledger.lock_reasons(signal.pair, rules.side_of(signal)))

    def _slots(self, signal: Signal) -> str | None:
        # Those that are being closed free their slot within this turn.
        trades = self._ledger.open_tags().items()
        taken = sum(not self._engine.is_closing(pair, tag) for pair, tag in trades)
        return guards.SLOTS if taken >= self._engine.max_open_trades else None
