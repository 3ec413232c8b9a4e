"""M1: a service that stands still is found unhealthy in time, whatever it is, and alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import psutil
import pytest

from scripts.stack.compose import Container, Project
from tests.stack.conftest import BIND_ADDRESS, ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600), pytest.mark.usefixtures("demo")]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})
# The intervals of the checks make it a minute; a busy machine may add to that.
UNHEALTHY_WITHIN_S = 75.0
BACK_WITHIN_S = 120.0
# No other service's health rests on these, so they can stand still together.
LEAVES = {
    "strategy-runner",
    "freqtrade",
    "freqtrade-ui",
    "oi-tracker",
    "system-monitor",
    "health-monitor",
    "aggr-chronograf",
    "socket-proxy",
}
OTHERS = ("redis", "aggr-influx", "aggr-server", "simulator")
ONE_SHOT = {"volume-init", "influx-init"}


def staying() -> dict[str, Container]:
    return {c.service: c for c in PROJECT.containers() if c.service not in ONE_SHOT}


def verdicts() -> dict[str, str]:
    return {service: container.verdict for service, container in staying().items()}


def wait_until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline, verdicts()
        sleep(1)


@contextmanager
def standing_still(services: set[str]) -> Iterator[None]:
    """Stop all processes of these services but the first, which only reaps the others."""
    stopped = []
    try:
        for service, container in staying().items():
            if service in services:
                processes = psutil.Process(container.pid).children(recursive=True)
                assert processes, f"{service} has no process under its first"
                for process in processes:
                    process.suspend()
                    stopped.append(process)
        yield
    finally:
        for process in stopped:
            if process.is_running():
                process.resume()


def test_every_service_is_stopped_by_one_of_these_tests() -> None:
    assert LEAVES | set(OTHERS) == staying().keys()


def test_m1_services_that_stand_still_are_unhealthy_and_no_other_is() -> None:
    wait_until(lambda: set(verdicts().values()) == {"healthy"}, BACK_WITHIN_S)
    with standing_still(LEAVES):
        wait_until(
            lambda: {s for s, verdict in verdicts().items() if verdict == "unhealthy"} == LEAVES,
            UNHEALTHY_WITHIN_S,
        )
        assert {verdicts()[service] for service in OTHERS} == {"healthy"}
    wait_until(lambda: set(verdicts().values()) == {"healthy"}, BACK_WITHIN_S)


@pytest.mark.parametrize("service", OTHERS)
def test_m1_a_service_that_others_need_is_unhealthy_when_it_stands_still(service: str) -> None:
    wait_until(lambda: set(verdicts().values()) == {"healthy"}, BACK_WITHIN_S)
    with standing_still({service}):
        wait_until(lambda: verdicts()[service] == "unhealthy", UNHEALTHY_WITHIN_S)
    wait_until(lambda: set(verdicts().values()) == {"healthy"}, BACK_WITHIN_S)
