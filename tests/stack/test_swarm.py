"""The Swarm file on a Swarm of one node: everything comes up, what is killed comes back, and over
the whole life no trade is missing in the bars and no signal is lost or executed twice.

The tests are one story, told in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.stack.compose import docker
from services.core import names
from tests.stack.conftest import run_script
from tests.stack.swarm import SwarmStack, single_node

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(1500),
    pytest.mark.usefixtures("swarm"),
]

STACK = SwarmStack(
    "squeezeflow-test",
    ("docker-compose.swarm.yml", "tests/stack/swarm-checker.yml", "tests/stack/swarm-demo.yml"),
    {"aggr-server": 2, "strategy-runner": 3},
)
LARGER = replace(STACK, wanted={**STACK.wanted, "aggr-server": 3}, environ={"AGGR_COLLECTORS": "3"})
UP_WITHIN_S = 420.0
BACK_WITHIN_S = 150.0
# ETH's first squeeze comes seven minutes after the market has opened and lasts four.
TRIGGER_WITHIN_S = 480.0
TRADED_WITHIN_S = 420.0
SETTLED_WITHIN_S = 420.0
"""The late roll-up of minutes runs every five."""
KEPT = ("signals", "opened", "closed", "outcomes")


@pytest.fixture(scope="module")
def swarm() -> Iterator[None]:
    with single_node(), STACK.deployed():
        yield


def test_two_collectors_and_three_runners_come_up_and_share_the_work() -> None:
    STACK.wait(STACK.all_healthy, UP_WITHIN_S)

    assert {"system-monitor", "socket-proxy", "health-monitor"} <= STACK.services()
    beats = (names.heartbeat("aggr-server"), names.heartbeat("aggr-server-2"))
    assert STACK.redis("exists", *beats) == "2"
    assert STACK.redis("hlen", names.REPLICAS) == "3"
    assert sum("aggr-server_data_" in volume for volume in STACK.volumes()) == 2


def test_nothing_is_published() -> None:
    listed = docker("stack", "services", "--format", "{{.Ports}}", STACK.name)
    assert listed.strip() == ""


@pytest.mark.parametrize(
    "service",
    [
        "aggr-server",
        "aggr-influx",
        "redis",
        "strategy-runner",
        "oi-tracker",
        "freqtrade",
        "system-monitor",
        "health-monitor",
        "socket-proxy",
    ],
)
def test_a_killed_task_is_replaced(service: str) -> None:
    STACK.wait(STACK.all_healthy, BACK_WITHIN_S)
    STACK.kill(STACK.container(service))
    STACK.wait(STACK.all_healthy, BACK_WITHIN_S)


@pytest.mark.slow
def test_a_squeeze_is_traded_once_though_its_runner_and_the_executor_are_killed() -> None:
    STACK.wait(lambda: "trigger" in phase_of("ETH") or bool(entries_of("ETH")), TRIGGER_WITHIN_S)
    STACK.kill(leader_of("ETHUSDT"))
    STACK.wait(lambda: bool(entries_of("ETH")), TRADED_WITHIN_S)
    [signal_id] = entries_of("ETH")
    STACK.wait(lambda: signal_id in state()["opened"], BACK_WITHIN_S)
    STACK.kill(STACK.container("freqtrade"))
    STACK.wait(lambda: answers() and signal_id in state()["finished"], TRADED_WITHIN_S)


def test_runners_are_updated_one_after_the_other_and_the_new_one_is_there_first() -> None:
    STACK.wait(STACK.all_healthy, BACK_WITHIN_S)
    before = set(STACK.containers())
    least = STACK.update("strategy-runner", 600)
    assert len(set(STACK.containers()) & before) == len(before) - STACK.wanted["strategy-runner"]
    assert least == STACK.wanted["strategy-runner"]


def test_collectors_are_updated_one_after_the_other() -> None:
    STACK.wait(STACK.all_healthy, BACK_WITHIN_S)
    # Two in one volume would spoil each other's files, so one is away at a time, and only one.
    assert STACK.update("aggr-server", 600) == STACK.wanted["aggr-server"] - 1
    STACK.wait(STACK.all_healthy, BACK_WITHIN_S)


@pytest.mark.slow
def test_a_third_collector_takes_its_part_of_the_markets() -> None:
    LARGER.deploy()
    LARGER.wait(lambda: LARGER.all_healthy() and LARGER.updated("aggr-server"), 600)
    assert STACK.redis("exists", names.heartbeat("aggr-server-3")) == "1"


def test_every_bar_of_this_life_is_that_of_the_tape() -> None:
    found: dict[str, Any] = {}

    def settled() -> bool:
        found.update(STACK.inside("bars"))
        return not (found["gaps"] or found["minutes"])

    STACK.wait(settled, SETTLED_WITHIN_S, lambda: {k: found[k] for k in ("gaps", "minutes")})
    print({key: found[key] for key in ("audit", "bars", "seconds_in_gaps")})
    audit = found["audit"]
    assert audit["mismatches"] == []
    assert audit["mismatched"] == 0
    # Of venues that tell their newest trades only.
    assert audit["compared"] > 10 * audit["in_gaps"]
    assert set(found["bars"]) == set(found["markets"])
    assert min(found["bars"].values()) > 60


@pytest.mark.slow
def test_every_signal_of_this_life_is_published_and_executed_once() -> None:
    told, now = STACK.inside("told"), state()
    print(json.dumps({"told": told, "state": now}))
    assert set(told["published"].values()) | set(told["filled"].values()) == {1}
    assert set(now["opened"]) <= set(now["signals"])
    assert set(now["closed"]) == set(now["opened"])


@pytest.mark.slow
def test_b1_everything_is_back_after_all_volumes_were_lost(tmp_path: Path) -> None:
    before = state()
    saved = run_script("backup_volumes.sh", str(tmp_path), "--stack", STACK.name)
    assert saved.returncode == 0, saved.stderr
    restore = ("restore_volumes.sh", saved.stdout.strip(), "--stack", STACK.name)
    refused = run_script(*restore)
    assert (refused.returncode, "docker stack rm" in refused.stderr) == (1, True), refused.stderr

    STACK.remove()
    STACK.forget()
    assert STACK.volumes() == []
    # Holds counts and sums of each measurement and day against those of the backup.
    restored = run_script(*restore)
    assert restored.returncode == 0, restored.stderr
    print(restored.stderr)
    STACK.deploy()
    STACK.wait(STACK.all_healthy, UP_WITHIN_S)

    after = state()
    assert {key: after[key] for key in KEPT} == {key: before[key] for key in KEPT}


def state() -> dict[str, Any]:
    return STACK.inside("state")


def answers() -> bool:
    """freqtrade serves its API, from which the trades are read."""
    return STACK.healthy().get("freqtrade") == 1


def phase_of(base: str) -> str:
    return str(state()["phases"][base])


def entries_of(base: str) -> list[str]:
    return [signal_id for signal_id, symbol in state()["signals"].items() if symbol == base]


def leader_of(symbol: str) -> str:
    """The container of the runner that decides for the symbol."""
    hostname = STACK.redis("get", names.lease(symbol)).split("-")[0]
    [container] = [c for c in STACK.containers("strategy-runner") if c.startswith(hostname)]
    return container
