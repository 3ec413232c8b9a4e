"""When a period is closed, whatever the clock does."""

from __future__ import annotations

from collections.abc import Callable

from aggr_server import clock
from aggr_server.bars import BarBuilder

LONGEST_SLEEP_S = 0.5
AT_ONCE = 60
"""Periods closed before others get a turn, when many are due."""

BACKWARDS_MS = 60_000
"""A clock that was set back further than this is not waited for."""


class ClockSetBack(Exception):
    """The clock was set back by more than is waited for; the collector had better start anew."""


async def keep_time(builder: BarBuilder, grace_ms: int, turn: Callable[[int, int], None]) -> None:
    """Call `turn(due_ms, now_ms)` for ever, as soon as the next period of `builder` is due.

    `turn` advances the builder to `now_ms`. A clock that jumps ahead makes several periods due at
    once; one that goes back makes none due until it is where it was, and stops no one from
    noticing when that is. Raises `ClockSetBack`.
    """
    length_ms = builder.interval_s * 1000
    while True:
        due_ms = builder.next_s * 1000 + length_ms + grace_ms
        now_ms = clock.now_ms()
        wait_ms = due_ms - now_ms
        if wait_ms <= 0:
            turn(due_ms, min(now_ms, due_ms + AT_ONCE * length_ms))
            await clock.sleep(0)
        elif wait_ms > length_ms + grace_ms + BACKWARDS_MS:
            raise ClockSetBack(
                f"the clock was set back by about {wait_ms // 1000} s; see that it is kept in time"
            )
        else:
            await clock.sleep(min(wait_ms / 1000, LONGEST_SLEEP_S))
