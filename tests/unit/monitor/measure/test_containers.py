"""What is told of the services' use, and how often they end."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.monitor.measure.board import Unreadable
from services.monitor.measure.containers import Containers, Restarts
from services.monitor.usage import SourceError, Usage


class Engine:
    """A runtime whose answers are set by the test."""

    runtime = "docker"

    def __init__(self, *usages: Usage) -> None:
        self.usages = list(usages)
        self.error = ""

    def sample(self) -> list[Usage]:
        if self.error:
            raise SourceError(self.error)
        return self.usages

    def close(self) -> None:
        pass


async def nobody() -> Mapping[str, int]:
    return {}


async def told(*usages: Usage) -> dict[str, float]:
    stored: list[str] = []
    containers = Containers(Engine(*usages), nobody, stored.extend)
    found = {reading.key: reading.value for reading in await containers.readings()}
    assert len(stored) == len(usages)
    return found


async def test_memory_is_told_of_the_limit_and_only_where_there_is_one() -> None:
    limited = Usage("redis", "running", memory_bytes=300, memory_limit_bytes=1200)
    free = Usage("freqtrade", "running", memory_bytes=300)
    found = await told(limited, free)
    assert found["container_memory_percent:redis"] == 25.0
    assert "container_memory_percent:freqtrade" not in found


async def test_a_failing_health_check_is_told_and_one_that_has_not_run_yet_is_not() -> None:
    found = await told(
        Usage("redis", "running", health="unhealthy"),
        Usage("freqtrade", "running", health="healthy"),
        Usage("oi-tracker", "running", health="starting"),
        Usage("simulator", "running"),
    )
    unhealthy = {k: v for k, v in found.items() if k.startswith("container_unhealthy")}
    assert unhealthy == {"container_unhealthy:redis": 1.0, "container_unhealthy:freqtrade": 0.0}


async def test_counters_of_network_and_disk_are_stored_where_they_are_known() -> None:
    stored: list[str] = []
    usage = Usage(
        "redis", "running", network_received_bytes=10, network_sent_bytes=20,
        disk_read_bytes=30, disk_written_bytes=40,
    )  # fmt: skip
    await Containers(Engine(usage, Usage("bare", "running")), nobody, stored.extend).readings()
    for field in ("network_received_bytes=10i", "network_sent_bytes=20i", "disk_read_bytes=30i",
                  "disk_written_bytes=40i"):  # fmt: skip
        assert field in stored[0]
    assert "network" not in stored[1]
    assert "disk" not in stored[1]


async def test_an_engine_that_does_not_answer_is_unreadable() -> None:
    engine = Engine()
    engine.error = "Docker API at tcp://127.0.0.1:1: refused"
    with pytest.raises(Unreadable, match="Docker API"):
        await Containers(engine, nobody, lambda _: None).readings()


def test_restarts_are_those_of_the_last_ten_minutes() -> None:
    restarts = Restarts()
    seen = [restarts.lately("redis", count, now_s) for now_s, count in
            ((0, 7), (60, 7), (100, 8), (200, 10), (650, 10), (701, 10), (801, 10))]  # fmt: skip
    assert seen == [0, 0, 1, 3, 3, 2, 0]


def test_the_counter_of_a_new_container_begins_anew() -> None:
    restarts = Restarts()
    assert [restarts.lately("redis", count, now_s) for now_s, count in
            ((0, 5), (10, 0), (20, 1))] == [0, 0, 1]  # fmt: skip
