from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from aggr_server import clock
from aggr_server.bars import BarBuilder
from aggr_server.timekeeping import ClockSetBack, keep_time

SPEED = 50.0


class Time:
    """A clock that can be set, and the seconds that were closed by it."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.builder = BarBuilder(grace_ms=200)
        self.seconds: list[int] = []
        self.seen_ms: list[int] = []
        self.changed = asyncio.Event()

    def turn(self, due_ms: int, now_ms: int) -> None:
        assert now_ms >= due_ms
        closed = [closed.second for closed in self.builder.advance(now_ms)]
        self.seconds += closed
        # After a stall several seconds are closed at once.
        self.seen_ms += [clock.now_ms()] * len(closed)
        self.changed.set()

    async def closes(self, second: int) -> None:
        async with asyncio.timeout(5):
            while not self.seconds or self.seconds[-1] < second:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time, real = Time(), clock.now_ms
    clock.adjust(f"{real()}*{SPEED}")
    monkeypatch.setattr(clock, "now_ms", lambda: real() + time.offset_ms)
    monkeypatch.setattr(clock, "_speed", SPEED)
    return time


@pytest.fixture(autouse=True)
def _real_time_afterwards() -> object:
    yield
    clock.adjust("")


@asynccontextmanager
async def kept(time: Time) -> AsyncIterator[int]:
    time.builder.advance(clock.now_ms())
    task = asyncio.create_task(keep_time(time.builder, 200, time.turn))
    try:
        yield time.builder.next_s
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def each_once(time: Time, begin: int) -> None:
    assert time.seconds == list(range(begin, begin + len(time.seconds)))


async def test_each_second_is_closed_when_its_grace_is_over(time: Time) -> None:
    async with kept(time) as begin:
        await time.closes(begin + 4)
    each_once(time, begin)
    late = [
        seen - (second + 1) * 1000 - 200
        for second, seen in zip(time.seconds, time.seen_ms, strict=True)
    ]
    assert min(late) >= 0


async def test_c19_a_jump_ahead_closes_the_seconds_in_between(time: Time) -> None:
    async with kept(time) as begin:
        await time.closes(begin + 2)
        time.offset_ms += 5000
        await time.closes(begin + 9)
    each_once(time, begin)


async def test_c19_a_jump_back_closes_nothing_twice(time: Time) -> None:
    async with kept(time) as begin:
        await time.closes(begin + 2)
        time.offset_ms -= 5000
        jumped_s, newest = clock.monotonic(), time.seconds[-1]
        await time.closes(newest + 1)
        assert 4 <= clock.monotonic() - jumped_s <= 8
        await time.closes(begin + 6)
    each_once(time, begin)


async def test_c19_a_clock_that_is_put_right_again_is_noticed_soon(time: Time) -> None:
    async with kept(time) as begin:
        await time.closes(begin + 1)
        time.offset_ms -= 30_000
        await clock.sleep(2)
        time.offset_ms += 30_000
        right_s = clock.monotonic()
        await time.closes(time.seconds[-1] + 2)
        assert clock.monotonic() - right_s < 5
    each_once(time, begin)


async def test_c19_a_long_pause_is_made_up_for_in_parts(time: Time) -> None:
    async with kept(time) as begin:
        time.offset_ms += 600_000
        await time.closes(begin + 600)
        assert len(time.seen_ms) >= 10
    each_once(time, begin)


async def test_c19_a_clock_set_back_for_good_is_not_waited_for(time: Time) -> None:
    time.builder.advance(clock.now_ms())
    time.offset_ms -= 3_600_000
    with pytest.raises(ClockSetBack, match="set back by about 360"):
        await keep_time(time.builder, 200, time.turn)
