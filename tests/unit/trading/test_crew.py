import asyncio
import contextlib

import pytest

from services.trading.crew import Crew


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_failing_task_ends_the_others_and_is_raised() -> None:
    ended = asyncio.Event()

    async def other() -> None:
        try:
            await forever()
        finally:
            ended.set()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    crew = Crew()
    crew.start(other)
    crew.start(failing)
    with pytest.raises(RuntimeError, match="broken"):
        await crew.until(asyncio.Event())
    assert ended.is_set()


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    crew, stop = Crew(), asyncio.Event()
    task = crew.start(stubborn)
    await asyncio.sleep(0)
    stop.set()
    await crew.until(stop)
    assert task.cancelled()


async def test_a_task_may_return() -> None:
    async def brief() -> None:
        stop.set()

    crew, stop = Crew(), asyncio.Event()
    crew.start(brief)
    crew.start(forever)
    await crew.until(stop)
