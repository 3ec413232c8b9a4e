"""Sources side by side: cadence, patience, blindness."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.monitor.measure.board import Board, InThread, Source, Unreadable
from services.monitor.measure.catalog import FORGET_S, STALE_S
from services.monitor.readings import Reading


class Time:
    """A clock that goes forward when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return int(self.now_s * 1000)


class Gauge:
    """A source whose answers are set by the test."""

    def __init__(self, name: str = "redis") -> None:
        self.name = name
        self.answer: list[Reading] = [cpu(1.0)]
        self.error: Exception | None = None
        self.hang = asyncio.Event()
        self.hang.set()
        self.looks = 0

    async def read(self) -> list[Reading]:
        self.looks += 1
        await self.hang.wait()
        if self.error is not None:
            raise self.error
        return self.answer


def cpu(value: float) -> Reading:
    return Reading(name="host_cpu_percent", subject="host", value=value)


def gap(market: str) -> Reading:
    return Reading(name="market_gap_open_s", subject=market, value=30.0)


def board(time: Time, *sources: Source, patience_s: float = 0.05) -> Board:
    return Board(sources, patience_s=patience_s, monotonic=time.monotonic, now_ms=time.now_ms)


def values(readings: list[Reading]) -> dict[str, float]:
    return {reading.key: reading.value for reading in readings}


async def test_a_source_is_looked_at_as_often_as_it_says_and_told_between() -> None:
    time, gauge = Time(), Gauge()
    made = board(time, Source("redis", gauge.read, every_s=10))
    for _ in range(10):
        told = await made.look()
        time.now_s += 5
    assert gauge.looks == 5
    assert values(told)["host_cpu_percent:host"] == 1.0
    # Measured when it was looked at, not when it was told.
    assert {r.ts_ms for r in told if r.name == "host_cpu_percent"} == {1_040_000}


async def test_a_round_that_comes_a_moment_early_does_not_halve_the_pace() -> None:
    time, gauge = Time(), Gauge()
    made = board(time, Source("redis", gauge.read, every_s=5))
    for _ in range(10):
        await made.look()
        time.now_s += 4.99
    assert gauge.looks == 10


async def test_a_source_that_hangs_delays_no_other_and_is_blind_after_its_time_out() -> None:
    time, slow, fast = Time(), Gauge("clock"), Gauge("redis")
    slow.hang.clear()
    made = board(
        time, Source("clock", slow.read, timeout_s=0.2), Source("redis", fast.read), patience_s=0.05
    )
    first = await made.look()
    assert values(first) == {"host_cpu_percent:host": 1.0, "monitor_blind:redis": 0.0}
    await asyncio.sleep(0.3)  # its time-out
    second = await made.look()
    assert values(second)["monitor_blind:clock"] == 1.0
    assert "no answer within 0.2 s" in made.problems["clock"]
    assert fast.looks == 2
    await made.close()


async def test_what_was_known_is_told_while_fresh_then_only_that_nothing_is_known() -> None:
    time, gauge = Time(), Gauge()
    made = board(time, Source("redis", gauge.read))
    await made.look()
    gauge.error = Unreadable("gone")
    time.now_s += STALE_S - 1
    assert values(await made.look()) == {"host_cpu_percent:host": 1.0, "monitor_blind:redis": 1.0}
    time.now_s += 2
    told = await made.look()
    assert [(r.key, r.value, r.detail) for r in told] == [("monitor_blind:redis", 1.0, "gone")]
    gauge.error = None
    assert values(await made.look()) == {"host_cpu_percent:host": 1.0, "monitor_blind:redis": 0.0}


async def test_a_source_that_is_seldom_due_is_tried_again_soon_while_it_cannot_be_read() -> None:
    time, gauge = Time(), Gauge("clock")
    gauge.error = Unreadable("gone")
    made = board(time, Source("clock", gauge.read, every_s=300))
    for _ in range(13):
        await made.look()
        time.now_s += 5
    assert gauge.looks == 3
    gauge.error = None
    time.now_s += 30
    for _ in range(20):
        await made.look()
        time.now_s += 5
    assert gauge.looks == 4


async def test_blindness_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    time, gauge = Time(), Gauge()
    gauge.error = Unreadable("gone")
    made = board(time, Source("redis", gauge.read))
    for _ in range(5):
        await made.look()
    assert [record.message for record in caplog.records] == [
        "cannot be measured source=redis error=gone"
    ]


async def test_what_is_listed_only_while_wrong_is_told_to_be_over_for_a_while() -> None:
    time, gauge = Time(), Gauge("collector")
    gauge.answer = [gap("BYBIT:BTCUSDT"), gap("OKEX:BTC-USDT")]
    made = board(time, Source("collector", gauge.read))
    await made.look()
    gauge.answer = [gap("OKEX:BTC-USDT")]
    time.now_s += 5
    told = values(await made.look())
    assert told["market_gap_open_s:BYBIT:BTCUSDT"] == 0.0
    assert told["market_gap_open_s:OKEX:BTC-USDT"] == 30.0
    time.now_s += FORGET_S
    assert "market_gap_open_s:BYBIT:BTCUSDT" not in values(await made.look())


async def test_what_is_told_at_all_times_is_not_zero_because_it_is_absent() -> None:
    gauge = Gauge()
    made = board(Time(), Source("redis", gauge.read))
    await made.look()
    gauge.answer = []
    assert values(await made.look()) == {"monitor_blind:redis": 0.0}


async def test_a_bug_in_a_source_is_not_taken_for_blindness() -> None:
    gauge = Gauge()
    gauge.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await board(Time(), Source("redis", gauge.read)).look()


async def test_a_call_that_hangs_keeps_one_thread_and_no_more() -> None:
    release, calls = threading.Event(), []

    def block() -> int:
        calls.append(1)
        release.wait(30)
        return 7

    call = InThread(block)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call()
    with pytest.raises(Unreadable, match="hangs"):
        await call()
    assert len(calls) == 1
    release.set()
    while True:
        try:
            assert await call() == 7
            break
        except Unreadable:
            await asyncio.sleep(0.01)
