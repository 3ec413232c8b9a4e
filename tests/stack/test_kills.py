"""I3: whatever is killed comes back by itself, also by `docker kill`, which the engine leaves."""

from __future__ import annotations

import random
from time import monotonic, sleep

import pytest

from scripts.stack.compose import Project, docker
from tests.stack.conftest import BIND_ADDRESS, ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900), pytest.mark.usefixtures("demo")]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})
BACK_WITHIN_S = 60.0
ROUNDS = 4
ONE_SHOT = {"volume-init", "influx-init"}


def verdicts() -> dict[str, str]:
    return {c.service: c.verdict for c in PROJECT.containers() if c.service not in ONE_SHOT}


def test_i3_random_pairs_that_are_killed_are_healthy_again_within_a_minute() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        services = sorted(verdicts())
        pair = chance.sample(services, 2)
        identities = [c.identity for c in PROJECT.containers() if c.service in pair]
        docker("kill", *identities)
        deadline = monotonic() + BACK_WITHIN_S
        while set(verdicts().values()) != {"healthy"}:
            assert monotonic() < deadline, (pair, verdicts())
            sleep(1)
        assert {c.identity for c in PROJECT.containers()} >= set(identities)


def test_what_the_user_stops_stays_stopped() -> None:
    [container] = [c for c in PROJECT.containers() if c.service == "freqtrade-ui"]
    docker("stop", container.identity)
    try:
        # Longer than the keeper takes to start what was killed.
        sleep(10)
        assert docker("inspect", "-f", "{{.State.Running}}", container.identity).strip() == "false"
    finally:
        docker("start", container.identity)
