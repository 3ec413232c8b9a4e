"""What keeps an otherwise good signal from being entered on. Each guard answers a reason or None.

None of them concerns exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.core.records import Signal

Guard = Callable[[Signal], str | None]

AUTO_LOCK = "Auto lock"
DAILY_LOSS = "daily_loss"
HALTED = "halted"
SLOTS = "slots"


def first_reason(guards: Sequence[Guard], signal: Signal) -> str | None:
    """The reason of the first guard that has one."""
    return next((reason for guard in guards if (reason := guard(signal))), None)


def lock_reason(locks: Iterable[str | None]) -> str | None:
    """What a refusal says about locks, given the reasons of all that are active.

    freqtrade's own lock after every exit does not count: when to enter again is for the strategy
    to say, and each signal is executed only once.
    """
    reasons = [lock or "no reason given" for lock in locks if lock != AUTO_LOCK]
    if DAILY_LOSS in reasons:
        return DAILY_LOSS
    return f"locked: {reasons[0]}" if reasons else None
