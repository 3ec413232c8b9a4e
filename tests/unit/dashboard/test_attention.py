"""Sources are asked while somebody looks, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.dashboard import attention as module
from services.dashboard.attention import Attention
from services.dashboard.audience import Audience, Viewer


class Counter:
    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self.rounds = 0
        self.done = asyncio.Event()

    async def round(self) -> None:
        self.rounds += 1
        self.done.set()

    async def next(self) -> None:
        async with asyncio.timeout(10):
            await self.done.wait()
        self.done.clear()


@asynccontextmanager
async def attended(audience: Audience, source: Counter) -> AsyncIterator[Attention]:
    attention = Attention(audience, source)
    task = asyncio.create_task(attention.run())
    yield attention
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_S", 0.001)


async def test_nothing_is_read_for_nobody() -> None:
    audience, source = Audience(), Counter(0.001)
    async with attended(audience, source) as attention:
        attention.want()
        await asyncio.sleep(0.05)
        assert source.rounds == 0

        audience.join(viewer := Viewer())
        await source.next()
        await source.next()
        audience.leave(viewer)
        await asyncio.sleep(0.02)
        read = source.rounds
        await asyncio.sleep(0.05)
        assert source.rounds == read


async def test_a_change_is_not_waited_for() -> None:
    audience, source = Audience(), Counter(3_600.0)
    audience.join(Viewer())
    async with attended(audience, source) as attention:
        await source.next()
        attention.want()
        await source.next()
        assert source.rounds == 2


async def test_a_source_that_fails_ends_the_task() -> None:
    class Broken(Counter):
        async def round(self) -> None:
            raise ValueError("a bug")

    audience = Audience()
    audience.join(Viewer())
    with pytest.raises(ValueError, match="a bug"):
        await Attention(audience, Broken(1.0)).run()
