"""Repeated work and its sign of life."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from services.core import rounds
from services.core.rounds import Stuck, repeat
from services.core.service import Pulse


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "TICK_S", 0.005)


class Beats:
    """Stands in for the pulse; sets `stop` after `limit` beats."""

    def __init__(self, stop: asyncio.Event, limit: int) -> None:
        self.statuses: list[str] = []
        self.details: list[dict[str, object]] = []
        self._stop = stop
        self._limit = limit

    def beat(self, cycle_ms: float, *, status: str, details: dict[str, object]) -> None:
        self.statuses.append(status)
        self.details.append(details)
        if len(self.statuses) >= self._limit:
            self._stop.set()


class Work:
    """Counts rounds; each waits for `gate` if there is one."""

    def __init__(self) -> None:
        self.rounds = 0
        self.gate: asyncio.Event | None = None
        self.failure: Exception | None = None
        self.cancelled = False

    @property
    def status(self) -> str:
        return f"{self.rounds} done"

    async def round(self) -> None:
        self.rounds += 1
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise


def pulse_of(beats: Beats) -> Pulse:
    return cast(Pulse, beats)


async def test_rounds_follow_the_interval_and_beats_carry_the_status() -> None:
    stop = asyncio.Event()
    work, beats = Work(), Beats(stop, 6)
    await repeat(work, pulse_of(beats), stop, 0.0, details=lambda: {"n": work.rounds})
    assert work.rounds >= 3
    assert beats.statuses[-1] == f"{beats.details[-1]['n']} done"


async def test_a_slow_round_is_not_joined_by_a_second_and_beats_go_on() -> None:
    stop = asyncio.Event()
    work, beats = Work(), Beats(stop, 10)
    work.gate = asyncio.Event()
    await repeat(work, pulse_of(beats), stop, 0.0)
    assert work.rounds == 1
    assert len(beats.statuses) == 10
    assert work.cancelled


async def test_a_round_that_hangs_ends_the_service() -> None:
    stop = asyncio.Event()
    work, beats = Work(), Beats(stop, 1_000_000)
    work.gate = asyncio.Event()
    with pytest.raises(Stuck):
        await repeat(work, pulse_of(beats), stop, 1.0, limit_s=0.05)
    assert work.cancelled


async def test_an_unforeseen_failure_ends_the_service() -> None:
    stop = asyncio.Event()
    work = Work()
    work.failure = RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"):
        await repeat(work, pulse_of(Beats(stop, 1_000_000)), stop, 1.0)


async def test_nothing_is_repeated_before_its_time() -> None:
    stop = asyncio.Event()
    work, beats = Work(), Beats(stop, 20)
    await repeat(work, pulse_of(beats), stop, 60.0)
    assert work.rounds == 1
