"""Keeps repeated log lines, attempts and connections apart."""

from __future__ import annotations

import random

from aggr_server import clock


class Occasionally:
    """True at most once in `every_s` seconds for each key."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last: dict[str, float] = {}

    def __call__(self, key: str = "") -> bool:
        now = clock.monotonic()
        if now - self._last.get(key, float("-inf")) < self._every_s:
            return False
        self._last[key] = now
        return True


class Backoff:
    """Delays with full jitter: between 0 and a bound that doubles from `base_s` to `cap_s`."""

    def __init__(self, *, base_s: float = 1.0, cap_s: float = 60.0) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._bound_s = base_s

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        delay = random.uniform(0.0, self._bound_s)
        self._bound_s = min(self._cap_s, self._bound_s * 2)
        return delay

    def reset(self) -> None:
        """The last attempt went well."""
        self._bound_s = self._base_s


class Pacer:
    """Lets callers pass at least `spacing_s` apart, in the order they came."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._free_at = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        now = clock.monotonic()
        start = max(now, self._free_at)
        self._free_at = start + self._spacing_s
        if start > now:
            await clock.sleep(start - now)


class Budget:
    """`burst` at once, and one more in every `refill_s` seconds. No clock of its own."""

    def __init__(self, burst: int, refill_s: float) -> None:
        self._burst = float(burst)
        self._refill_s = refill_s
        self._left = float(burst)
        self._counted_s: float | None = None

    def spend(self, now_s: float) -> bool:
        """Take one, if there is one."""
        if self._counted_s is not None:
            self._left += max(0.0, now_s - self._counted_s) / self._refill_s
        self._left = min(self._burst, self._left)
        self._counted_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
