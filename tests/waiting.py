"""Waiting for what something that runs is going to do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

FIRST_S, GROWTH, LONGEST_S = 0.001, 1.2, 0.02
"""How long it pauses before it asks again."""


class Eventually(Protocol):
    """See `eventually`; it knows how long to wait unless it is told."""

    async def __call__(self, probe: Callable[[], Any], timeout_s: float = ...) -> Any:
        """The first true answer of `probe`."""


def within(usual_s: float) -> Eventually:
    """`eventually` for tests whose services have this long."""

    async def bounded(probe: Callable[[], Any], timeout_s: float = usual_s) -> Any:
        return await eventually(probe, timeout_s)

    return bounded


async def eventually(probe: Callable[[], Any], timeout_s: float) -> Any:
    """The first true answer of `probe`, which may have to be awaited.

    Raises `AssertionError` when there is none in time.
    """
    pause_s = FIRST_S
    try:
        async with asyncio.timeout(timeout_s) as limit:
            while True:
                answer = probe()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_S, GROWTH * pause_s)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"not within {timeout_s:g} s: {probe}") from None
