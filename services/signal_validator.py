"""The last check of a signal before it is published."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from services.core.records import Signal

DAY_MS = 86_400_000
_SYMBOL = re.compile(r"^[A-Z0-9]{2,20}$")
_FACTORS = (0.5, 1.0, 1.5)


class Reason(StrEnum):
    """Why a signal was refused, in the order in which the rules are checked."""

    INVALID = "INVALID"
    EXPIRED = "EXPIRED"
    DUPLICATE = "DUPLICATE"
    LOW_SCORE = "LOW_SCORE"
    PRICE = "PRICE"
    DATA_QUALITY = "DATA_QUALITY"
    COOLDOWN = "COOLDOWN"
    RATE_LIMITED = "RATE_LIMITED"
    RISK_LIMIT = "RISK_LIMIT"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refused signal: the first rule it failed, and what was found."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of the rules. `_s`: seconds."""

    max_age_s: int = 5
    max_close_age_s: int = 60
    dedup_s: int = 900
    min_score: float = 4.0
    price_age_s: int = 5
    coverage_min: float = 0.80
    max_leverage: int = 5
    per_minute: int = 20
    per_symbol_and_hour: int = 10
    max_open_positions: int = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the signal when it is checked.

    `last_price`: newest price of the execution market, `price_age_s` its age (None: there is none).
    `positions`: open ones and signals that wait for their fill. `executor`: empty, or why the
    execution engine's state is not known.
    """

    now_ms: int
    last_price: float
    price_age_s: int | None
    warm: bool = True
    degraded: bool = False
    coverage: float = 1.0
    in_cooldown: bool = False
    positions: int = 0
    symbol_taken: bool = False
    daily_loss_reached: bool = False
    executor: str = ""


class Memory(msgspec.Struct):
    """The last day of a symbol's signals. Times: UTC ms of acceptance, oldest first.

    `ids`, `setups`: id -> time. `actions`: LONG or SHORT -> time of the last one. `entries`: times.
    """

    ids: dict[str, int] = {}
    setups: dict[str, int] = {}
    actions: dict[str, int] = {}
    entries: list[int] = []

    def forget_before(self, ms: int) -> None:
        """Drop what is older."""
        for times in (self.ids, self.setups, self.actions):
            for key in [key for key, at_ms in times.items() if at_ms < ms]:
                del times[key]
        self.entries = [at_ms for at_ms in self.entries if at_ms >= ms]


class SignalValidator:
    """Checks signals of all symbols. `accepted` and `released` keep its memory of the last day."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._memories: dict[str, Memory] = {}

    def memory(self, symbol: str) -> Memory:
        """What is remembered of the symbol's signals; whoever decides next goes on from it."""
        return self._memories.setdefault(symbol, Memory())

    def remember(self, symbol: str, memory: Memory) -> None:
        """Go on from what another one remembered."""
        self._memories[symbol] = memory

    def recall(self, symbol: str, published: Iterable[Signal]) -> None:
        """Go on from the published signals of the symbol, oldest first."""
        self._memories[symbol] = Memory()
        waiting: dict[str, Signal] = {}
        for signal in published:
            if signal.event == "CANCEL":
                entry = waiting.pop(signal.signal_id, None)
                if entry is not None and signal.refreshed_ms < entry.valid_until_ms:
                    self.released(entry)
            else:
                waiting[signal.signal_id] = signal
                self.accepted(signal, signal.ts_ms)

    def check(self, signal: Signal, facts: Facts) -> Rejection | None:
        """The first rule the signal fails, None if it passes. Changes nothing."""
        closing = signal.action == "CLOSE"
        found = (
            self._well_formed(signal)
            or self._age(signal, facts, closing)
            or self._duplicate(signal, facts, closing)
        )
        if found or closing:
            return found or self._positive_price(signal)
        return (
            self._score(signal)
            or self._price(signal, facts)
            or self._data(facts)
            or self._cooldown(facts)
            or self._rate(signal, facts)
            or self._risk(facts)
        )

    def accepted(self, signal: Signal, now_ms: int) -> None:
        """Remember a signal that was published."""
        memory = self.memory(signal.symbol)
        memory.forget_before(now_ms - DAY_MS)
        memory.ids[signal.signal_id] = now_ms
        if signal.action == "CLOSE":
            return
        memory.setups[signal.setup_id] = now_ms
        memory.actions[signal.action] = now_ms
        memory.entries.append(now_ms)

    def released(self, signal: Signal) -> None:
        """The signal was cancelled: its set-up and its direction are free again."""
        memory = self.memory(signal.symbol)
        memory.setups.pop(signal.setup_id, None)
        memory.actions.pop(signal.action, None)

    def _well_formed(self, s: Signal) -> Rejection | None:
        numbers = (
            s.score, s.position_size_factor, s.entry_price, s.invalidation_price,
            s.max_deviation, s.confidence, s.coverage, *s.score_breakdown.values(),
            *(x for x in (s.stop_price, *s.context.values(), *s.oi.values(), *s.cvd.values())
              if isinstance(x, float)),
        )  # fmt: skip
        # A position taken over may have more leverage than an entry may; it must be closed.
        most = math.inf if s.action == "CLOSE" else self.limits.max_leverage
        event = "EXIT" if s.action == "CLOSE" else "ENTRY"
        problems = {
            "a number is not finite": not all(math.isfinite(n) for n in numbers),
            f"action {s.action} with event {s.event}": s.event != event,
            f"symbol {s.symbol!r}": not _SYMBOL.match(s.symbol),
            "no signal_id": not s.signal_id,
            "no setup_id": not s.setup_id and s.action != "CLOSE",
            f"score {s.score}": not 0 <= s.score <= 10,
            f"confidence {s.confidence}": not 0 <= s.confidence <= 1,
            f"factor {s.position_size_factor}": s.position_size_factor not in _FACTORS,
            f"leverage {s.leverage}": not 1 <= s.leverage <= most,
            "no parent": s.action == "CLOSE" and not (s.parent_signal_id or s.trade_id),
        }
        if s.action != "CLOSE" and s.entry_price > 0:
            problems["invalidation or stop on the winning side"] = _wrong_side(s)
        bad = next((text for text, wrong in problems.items() if wrong), None)
        return Rejection(Reason.INVALID, bad) if bad else None

    def _age(self, s: Signal, facts: Facts, closing: bool) -> Rejection | None:
        age_s = (facts.now_ms - s.ts_ms) / 1000
        limit_s = self.limits.max_close_age_s if closing else self.limits.max_age_s
        return Rejection(Reason.EXPIRED, f"{age_s:.1f} s old") if age_s > limit_s else None

    def _duplicate(self, s: Signal, facts: Facts, closing: bool) -> Rejection | None:
        memory = self.memory(s.symbol)
        since = facts.now_ms - memory.ids.get(s.signal_id, -DAY_MS)
        if since < DAY_MS:
            return Rejection(Reason.DUPLICATE, "signal_id")
        if closing:
            return None
        if facts.now_ms - memory.setups.get(s.setup_id, -DAY_MS) < DAY_MS:
            return Rejection(Reason.DUPLICATE, "setup_id")
        same = facts.now_ms - memory.actions.get(s.action, -DAY_MS)
        if same < self.limits.dedup_s * 1000:
            return Rejection(Reason.DUPLICATE, f"{s.action} {same // 1000} s ago")
        return None

    def _score(self, s: Signal) -> Rejection | None:
        low = s.score < self.limits.min_score
        return Rejection(Reason.LOW_SCORE, f"score {s.score:.2f}") if low else None

    def _positive_price(self, s: Signal) -> Rejection | None:
        return None if s.entry_price > 0 else Rejection(Reason.PRICE, f"price {s.entry_price}")

    def _price(self, s: Signal, facts: Facts) -> Rejection | None:
        if found := self._positive_price(s):
            return found
        if facts.price_age_s is None or facts.price_age_s > self.limits.price_age_s:
            return Rejection(Reason.PRICE, f"newest price {facts.price_age_s} s old")
        if facts.last_price <= 0:
            return Rejection(Reason.PRICE, f"last price {facts.last_price}")
        away = abs(math.log(s.entry_price / facts.last_price))
        return Rejection(Reason.PRICE, f"{away:.5f} away") if away > s.max_deviation else None

    def _data(self, facts: Facts) -> Rejection | None:
        if not facts.warm:
            return Rejection(Reason.DATA_QUALITY, "not warm")
        if facts.degraded or facts.coverage < self.limits.coverage_min:
            return Rejection(Reason.DATA_QUALITY, f"coverage {facts.coverage:.2f}")
        return None

    def _cooldown(self, facts: Facts) -> Rejection | None:
        return Rejection(Reason.COOLDOWN, "symbol") if facts.in_cooldown else None

    def _rate(self, s: Signal, facts: Facts) -> Rejection | None:
        limits = self.limits
        minute_ms, hour_ms = facts.now_ms - 60_000, facts.now_ms - 3_600_000
        if sum(_count_since(m.entries, minute_ms) for m in self._memories.values()) >= (
            limits.per_minute
        ):
            return Rejection(Reason.RATE_LIMITED, f"{limits.per_minute} in a minute")
        if _count_since(self.memory(s.symbol).entries, hour_ms) >= limits.per_symbol_and_hour:
            return Rejection(Reason.RATE_LIMITED, f"{limits.per_symbol_and_hour} in an hour")
        return None

    def _risk(self, facts: Facts) -> Rejection | None:
        problems = {
            facts.executor: bool(facts.executor),
            "a position or signal is open in the symbol": facts.symbol_taken,
            f"{facts.positions} positions": facts.positions >= self.limits.max_open_positions,
            "daily loss": facts.daily_loss_reached,
        }
        bad = next((text for text, wrong in problems.items() if wrong), None)
        return Rejection(Reason.RISK_LIMIT, bad) if bad else None


def _wrong_side(s: Signal) -> bool:
    sign = 1 if s.action == "LONG" else -1
    losing = [s.invalidation_price] + ([] if s.stop_price is None else [s.stop_price])
    return any(price <= 0 or sign * (s.entry_price - price) <= 0 for price in losing)


def _count_since(times: list[int], since_ms: int) -> int:
    return len(times) - bisect_right(times, since_ms)
