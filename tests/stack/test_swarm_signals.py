"""Strategy-runners in a Swarm, killed and updated while signals are due: each comes once.

The signals are those of the staged market of `tests.integration.trading.stage`, and the measure is
a runner of its own that nothing happens to.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from time import time

import pytest

from scripts.stack.compose import docker
from tests.stack.swarm import SwarmStack, single_node

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1500)]

RUNNERS = 3
SYMBOLS = 8
NONE = (
    "aggr-server",
    "freqtrade",
    "oi-tracker",
    "socket-proxy",
    "system-monitor",
    "health-monitor",
)
STACK = SwarmStack(
    "squeezeflow-signals",
    ("docker-compose.swarm.yml", "tests/stack/swarm-checker.yml", "tests/stack/swarm-signals.yml"),
    {**dict.fromkeys(NONE, 0), "strategy-runner": 0, "single": 0},
)
KILLS = 4
FIRST_SIGNAL_S = 90
SPREAD_S = 240
READY_WITHIN_S = 150.0


@pytest.fixture(scope="module")
def swarm() -> Iterator[None]:
    with single_node(), STACK.deployed():
        # Zero in a second file does not always count.
        scale({service: 0 for service in STACK.wanted})
        yield


def scale(wanted: Mapping[str, int]) -> None:
    named = [f"{STACK.name}_{service}={number}" for service, number in wanted.items()]
    docker("service", "scale", "--detach", *named)


def ready() -> bool:
    """Every runner could take over any symbol, and every symbol is decided for."""
    found = STACK.inside("replicas")
    names = [leader.split("-")[0] for leader in found["leaders"].values()]
    running = [container[:12] for container in STACK.containers("strategy-runner")]
    return (
        len(names) == SYMBOLS
        and len(found["ready"]) == RUNNERS
        and set(names) <= set(running)
        and len(set(names)) == RUNNERS
    )


@pytest.mark.usefixtures("swarm")
def test_s10_no_signal_is_lost_or_doubled_by_kills_and_a_rolling_update() -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed={seed}")
    STACK.wait(STACK.all_healthy, READY_WITHIN_S)
    STACK.wait(lambda: STACK.completed("influx-init"), READY_WITHIN_S)
    arguments = (str(FIRST_SIGNAL_S), str(SPREAD_S), str(seed))
    with STACK.start_inside("play", *arguments) as playing:
        assert playing.stdout is not None
        assert playing.stdout.readline().strip() == "ready"
        scale({"single": 1, "strategy-runner": RUNNERS})
        for _ in range(KILLS):
            STACK.wait(ready, READY_WITHIN_S)
            STACK.kill(chance.choice(STACK.containers("strategy-runner")))
        STACK.wait(ready, READY_WITHIN_S)
        update_s = time()
        STACK.update("strategy-runner", 400)
        took_s = time() - update_s
        said = playing.stdout.read()
    print(said)
    answer = json.loads(said.splitlines()[-1])
    before = sum(second < update_s for second in answer["seconds"])
    after = sum(second > update_s + took_s for second in answer["seconds"])
    during = len(answer["seconds"]) - before - after
    print(f"signals: {before} during kills, {during} during the update, {after} after it")
    assert during > 0
    assert answer["expected"]["ENTRY"] == answer["symbols"]
    assert answer["expected"]["EXIT"] == answer["symbols"]
    assert (answer["lost"], answer["other"], answer["doubled"]) == ([], [], [])
