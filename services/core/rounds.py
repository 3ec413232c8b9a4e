"""Work that is done again and again, with a sign of life that proves it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from services.core.service import Pulse, sleep_or_stop

TICK_S = 1.0


class Work(Protocol):
    """What is repeated."""

    @property
    def status(self) -> str:
        """`ok`, or what is wrong, for the heartbeat."""
        ...

    async def round(self) -> None:
        """Do it once."""
        ...


class Stuck(Exception):
    """A round took so long that it can only hang; the process must be started anew."""


async def repeat(
    work: Work,
    pulse: Pulse,
    stop: asyncio.Event,
    interval_s: float,
    *,
    limit_s: float = 120.0,
    details: Callable[[], dict[str, object]] = dict,
) -> None:
    """A round each `interval_s` seconds until `stop` is set.

    The sign of life goes out each second, also during a slow round. Raises whatever a round
    raises, and `Stuck` if one takes longer than `limit_s`.
    """
    current: asyncio.Task[float] | None = None
    took_ms, began, due = 0.0, 0.0, time.monotonic()
    try:
        while True:
            now = time.monotonic()
            if current is not None and current.done():
                finished, current = current, None
                took_ms = finished.result()
            if current is not None and now - began > limit_s:
                raise Stuck(f"a round has taken over {limit_s:g} s")
            if current is None and now >= due:
                began, due = now, now + interval_s
                current = asyncio.create_task(_timed(work))
            pulse.beat(took_ms, status=work.status, details=details())
            until_due = due - time.monotonic()
            if await sleep_or_stop(stop, min(TICK_S, until_due) if until_due > 0 else TICK_S):
                return
    finally:
        if current is not None:
            current.cancel()
            await asyncio.gather(current, return_exceptions=True)


async def _timed(work: Work) -> float:
    """Milliseconds the round took."""
    start = time.perf_counter()
    await work.round()
    return (time.perf_counter() - start) * 1000
