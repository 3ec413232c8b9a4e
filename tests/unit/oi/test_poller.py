"""One venue asked again and again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from services.oi import poller as module
from services.oi.book import Book
from services.oi.poller import BACKOFF_CAP_S, TOLERATED_S, Poller
from services.oi.venues import Found, VenueError
from tests.unit.oi.samples import NOW, found


class Script:
    """A venue that answers as written; the last entry for ever."""

    name = "A"
    interval_s = 20

    def __init__(self, *answers: Found | VenueError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.was_asked = asyncio.Event()

    async def poll(self, bases: Sequence[str]) -> Found:
        self.asked.append(tuple(bases))
        self.was_asked.set()
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(told, VenueError):
            raise told
        return told


def answer() -> Found:
    return found(age_ms=NOW - time.time_ns() // 1_000_000, BTC=1)


async def announce() -> None:
    """Nobody listens."""


def poller(source: Any, least_s: float = 60.0, **clock: Any) -> Poller:
    return Poller(source, Book(["A"]), lambda: ("BTC",), announce, least_s, **clock)


async def test_a_venue_is_asked_at_its_own_interval_but_not_oftener_than_the_least() -> None:
    assert await poller(Script(answer()), least_s=5).turn() == pytest.approx(20, abs=2)
    assert await poller(Script(answer()), least_s=60).turn() == pytest.approx(60, abs=2)


async def test_errors_double_the_limit_of_a_random_wait_up_to_a_cap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[float] = []

    def drawn(low: float, high: float) -> float:
        assert low == 0
        limits.append(high)
        return high

    monkeypatch.setattr(random, "uniform", drawn)
    asking = poller(Script(*[VenueError("no")] * 6, answer()), least_s=20)
    waits = [await asking.turn() for _ in range(6)]
    assert waits == limits == [40, 80, 160, BACKOFF_CAP_S, BACKOFF_CAP_S, BACKOFF_CAP_S]
    assert asking.problem == "no"
    assert await asking.turn() == pytest.approx(20, abs=2)
    assert asking.problem == ""


async def test_a_venue_that_wants_to_be_left_alone_is() -> None:
    assert await poller(Script(VenueError("429", retry_after_s=900))).turn() >= 900


async def test_a_venue_that_does_not_answer_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent(Script):
        async def poll(self, bases: Sequence[str]) -> Found:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(module, "POLL_TIMEOUT_S", 0.05)
    asking = poller(Silent(found()))
    await asking.turn()
    assert "no answer" in asking.problem


async def test_a_problem_degrades_the_service_only_when_it_lasts() -> None:
    now = [1000.0]
    source = Script(VenueError("maintenance"), VenueError("maintenance"), answer())
    asking = poller(source, monotonic=lambda: now[0])
    await asking.turn()
    assert (asking.problem, asking.lasting_problem) == ("maintenance", "")
    now[0] += TOLERATED_S
    await asking.turn()
    assert asking.lasting_problem == "A: maintenance"
    await asking.turn()
    assert asking.lasting_problem == ""


async def test_a_turn_that_never_ends_is_noticed() -> None:
    now = [1000.0]
    asking = poller(Script(answer()), monotonic=lambda: now[0])
    assert asking.overdue_s < 0
    now[0] += 2 * module.POLL_TIMEOUT_S + 1
    assert asking.overdue_s > 0


async def test_the_loop_ends_with_the_service() -> None:
    stop = asyncio.Event()
    source = Script(answer())
    asking = poller(source)
    async with asyncio.timeout(20):
        running = asyncio.create_task(asking.run(stop))
        await source.was_asked.wait()
        stop.set()
        await running
    assert source.asked == [("BTC",)]
