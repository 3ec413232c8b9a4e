"""The time: UTC for what is recorded, monotonic for what is waited for.

Tests let it pass faster, the same way in several processes: `adjust` takes the moment from which
on `speed` seconds pass in each real one. Nothing else in the package reads a clock or sleeps.
"""

from __future__ import annotations

import asyncio
import re
import time

_WRITTEN = re.compile(r"^(\d+)\*(\d+(?:\.\d+)?)$")
_anchor_ms = 0
_speed = 1.0


def adjust(text: str) -> None:
    """Set the clock as `ANCHOR_MS*SPEED`; empty: the real time. Raises `ValueError`.

    Simulated and real time are equal at `ANCHOR_MS`, a UTC time in milliseconds.
    """
    global _anchor_ms, _speed
    if not text:
        _anchor_ms, _speed = 0, 1.0
        return
    found = _WRITTEN.match(text)
    if found is None or float(found[2]) <= 0:
        raise ValueError(f"{text!r} is no clock: write ANCHOR_MS*SPEED")
    _anchor_ms, _speed = int(found[1]), float(found[2])


def now_ms() -> int:
    """UTC milliseconds."""
    if _speed == 1.0:
        return time.time_ns() // 1_000_000
    return _anchor_ms + int((time.time_ns() / 1e6 - _anchor_ms) * _speed)


def monotonic() -> float:
    """Seconds since some moment; never goes back."""
    return time.monotonic() * _speed


async def sleep(seconds: float) -> None:
    """Let `seconds` pass."""
    await asyncio.sleep(seconds / _speed)


def timeout(seconds: float) -> asyncio.Timeout:
    """As `asyncio.timeout`: raises `TimeoutError` when `seconds` have passed."""
    return asyncio.timeout(seconds / _speed)


def real(seconds: float) -> float:
    """How long `seconds` take, for libraries that keep the time themselves."""
    return seconds / _speed
