"""When a venue may be asked, on a clock that passes quickly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import pairwise

import pytest

from aggr_server import clock
from aggr_server.gate import BANNED_S, BLOCKED_S, Gate
from aggr_server.transport import Refused


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    clock.adjust("1700000000000*5000")
    yield
    clock.adjust("")


class Host:
    """Answers with the statuses it was given, then lets everybody in."""

    def __init__(self, *answers: Refused) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def ask(self, gate: Gate, name: str = "a.example") -> bool:
        try:
            async with gate.attempt(name):
                self.asked.append(clock.monotonic())
                if self.answers:
                    raise self.answers.pop(0)
        except Refused:
            return False
        return True

    async def insist(self, gate: Gate) -> None:
        while not await self.ask(gate):
            pass

    def distances(self) -> list[float]:
        return [b - a for a, b in pairwise(self.asked)]


def refusal(status: int, retry_after_s: float = 0.0) -> Refused:
    return Refused(f"HTTP {status}", status=status, retry_after_s=retry_after_s)


async def test_attempts_are_spaced() -> None:
    gate, host = Gate("TOY", 30.0), Host()
    before = clock.monotonic()
    await asyncio.gather(*(host.ask(gate) for _ in range(4)))
    assert host.asked[-1] - before >= 90.0


async def test_retry_after_is_obeyed_by_all_and_one_tries_first() -> None:
    gate, host = Gate("TOY", 0.0), Host(refusal(429, 60.0), refusal(429, 60.0))
    await host.ask(gate)
    await asyncio.gather(*(host.insist(gate) for _ in range(5)))
    assert host.distances()[0] >= 60.0
    assert host.distances()[1] >= 60.0
    assert len(host.asked) == 2 + 5


async def test_a_region_block_is_asked_about_every_quarter_of_an_hour_by_the_whole_venue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gate, host = Gate("TOY", 0.0), Host(*[refusal(451)] * 4)
    await host.ask(gate)
    await asyncio.gather(*(host.insist(gate) for _ in range(5)))
    assert len(host.asked) == 4 + 5
    assert min(host.distances()[:4]) >= BLOCKED_S
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "take it out of AGGR_EXCHANGES" in errors[0]
    assert "status=451" in errors[0]
    assert any("accepts this address again" in r.getMessage() for r in caplog.records)


async def test_a_ban_without_a_time_is_taken_seriously() -> None:
    gate, host = Gate("TOY", 0.0), Host(refusal(418))
    await host.insist(gate)
    assert host.distances()[0] >= BANNED_S


async def test_another_host_of_the_venue_is_not_held_liable() -> None:
    gate, blocked, fine = Gate("TOY", 0.0), Host(refusal(451)), Host()
    await blocked.ask(gate)
    before = clock.monotonic()
    assert await fine.ask(gate, "b.example")
    assert clock.monotonic() - before < BLOCKED_S / 2


async def test_a_server_that_is_merely_down_may_be_asked_again() -> None:
    gate, host = Gate("TOY", 0.0), Host(refusal(503), Refused("no route"))
    before = clock.monotonic()
    await host.insist(gate)
    assert clock.monotonic() - before < 200


async def test_whoever_gives_up_a_trial_leaves_it_to_the_next() -> None:
    gate, host = Gate("TOY", 0.0), Host(refusal(429, 10.0))
    await host.ask(gate)
    entered = asyncio.Event()

    async def hang() -> None:
        async with gate.attempt("a.example"):
            entered.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await entered.wait()
    waiting = asyncio.create_task(host.insist(gate))
    await clock.sleep(100)
    assert not waiting.done()
    hanging.cancel()
    await asyncio.wait_for(waiting, 5)
