"""When the dead-man address is called, and when it is not."""

from __future__ import annotations

import asyncio

import pytest

from aggr_server.env import SettingsError, load
from services.core.settings import SystemMonitorSettings
from services.notify.deadman import FRESH_S, DeadMan, Watched


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rounds:
    """The work; a round that ends when `ended` is set."""

    status = "ok"

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def round(self) -> None:
        await self.ended.wait()


def settings(**more: object) -> SystemMonitorSettings:
    values = {"DEADMAN_URL": "https://hc.example/Token0123456789"}
    values |= {key.upper(): str(value) for key, value in more.items()}
    return load(SystemMonitorSettings, values)


async def test_only_the_end_of_a_round_proves_that_the_monitor_works() -> None:
    deadman, rounds = DeadMan(settings()), Rounds()
    running = asyncio.create_task(Watched(rounds, deadman).round())
    await asyncio.sleep(0)
    assert not deadman.alive
    rounds.ended.set()
    await running
    assert deadman.alive


@pytest.mark.parametrize(("interval_s", "fresh_s"), [(5, FRESH_S), (60, 120.0)])
async def test_a_round_proves_it_for_a_while(interval_s: int, fresh_s: float) -> None:
    clock = Clock()
    deadman = DeadMan(settings(monitor_interval_s=interval_s), monotonic=clock)
    deadman.turned()
    clock.now_s += fresh_s - 1
    assert deadman.alive
    clock.now_s += 1
    assert not deadman.alive


async def test_a_monitor_without_problems_is_ok() -> None:
    watched = Watched(Rounds(), DeadMan(settings()))
    assert watched.status == "ok"


async def test_without_an_address_nothing_is_done() -> None:
    stop, deadman = asyncio.Event(), DeadMan(settings(deadman_url=""))
    deadman.turned()
    running = asyncio.create_task(deadman.run(stop))
    stop.set()
    await running
    assert deadman.problem == ""


def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match=r"DEADMAN_URL=\(hidden\)") as refused:
        settings(deadman_url="hc.example/Token0123456789")
    assert "Token" not in str(refused.value)
    assert "https://..." in str(refused.value)
