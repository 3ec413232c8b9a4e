"""I3: whatever is killed comes back by itself, also by `docker kill`, which the engine leaves.

KILL_MINUTES sets how long the long test kills, KILL_SEED what it kills and when.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from scripts.stack import containers
from scripts.stack.compose import Container, Project, docker
from scripts.stack.evidence import SETTLED_S, Evidence
from scripts.stack.running import StackError
from tests.accounting import (
    gaps_without_reason,
    minutes_that_differ,
    problems,
    seconds_in_gaps,
)
from tests.stack.conftest import BIND_ADDRESS, ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900), pytest.mark.usefixtures("demo")]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})
BACK_WITHIN_S = 60.0
ROUNDS = 4
MADE_AHEAD_S = 2
ONE_SHOT = {"volume-init", "influx-init"}

MINUTES = float(os.environ.get("KILL_MINUTES", "20"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
PAUSE_S = (5.0, 40.0)
PAIRS = 0.5
"""Of the kills, this part strikes two at once."""

NOTICED_S = 2.0
"""After a kill the engine knows it by then, and the keeper has not started it again yet."""

SIGNALLED_WITHIN_S = 420.0
"""The demo's first signal comes after two minutes; there are so few that killing begins with it."""

RECOVERED_WITHIN_S = 300.0
ROLLED_UP_WITHIN_S = 420.0
"""The late roll-up of minutes runs every five."""


def staying() -> list[Container]:
    return [c for c in PROJECT.containers() if c.service not in ONE_SHOT]


def verdicts() -> dict[str, str]:
    return {c.service: c.verdict for c in staying()}


def until(condition: Callable[[], bool], within_s: float, what: Callable[[], object]) -> float:
    """Wait for a condition; how long it took, s."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < within_s, what()
        sleep(1)
    return monotonic() - began


def all_healthy() -> bool:
    return set(verdicts().values()) == {"healthy"}


def test_i3_random_pairs_that_are_killed_are_healthy_again_within_a_minute() -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        services = sorted(verdicts())
        pair = chance.sample(services, 2)
        identities = [c.identity for c in staying() if c.service in pair]
        docker("kill", *identities)
        until(all_healthy, BACK_WITHIN_S, lambda pair=pair: (pair, verdicts()))  # type: ignore[misc]
        assert {c.identity for c in PROJECT.containers()} >= set(identities)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_the_user_stops_stays_stopped(frozen: bool) -> None:
    """One that does not answer any more is killed by the engine, for the same wish."""
    [container] = [c for c in PROJECT.containers() if c.service == "freqtrade-ui"]
    if frozen:
        # Its first process hands signals on to the others.
        docker("kill", "--signal", "STOP", container.identity)
    docker("stop", "--time", "1" if frozen else "20", container.identity)
    try:
        # Longer than the keeper takes to start what was killed.
        sleep(10)
        asked = "{{.State.Running}} {{.State.ExitCode}}"
        state = docker("inspect", "-f", asked, container.identity).split()
        assert state[0] == "false"
        assert (state[1] == "137") is frozen
    finally:
        docker("start", container.identity)


def strike(victim: Container) -> bool:
    """`docker kill`; False if it was not running just then."""
    try:
        docker("kill", victim.identity)
    except StackError as error:
        if "is not running" not in str(error):
            raise
        return False
    return True


def kill_at_random(chance: random.Random, seconds: float) -> Counter[str]:
    """Kill one or two services at a time with random pauses; how often each was killed. Ends with
    a kill.

    They are drawn from a shuffled list of all of them, again and again, so that none is left out.
    """
    killed: Counter[str] = Counter()
    waiting: list[str] = []
    deadline = monotonic() + seconds
    while True:
        present = {c.service: c for c in staying()}
        if len(waiting) < 2:
            waiting += chance.sample(sorted(present), len(present))
        victims = [waiting.pop(0) for _ in range(2 if chance.random() < PAIRS else 1)]
        for service in victims:
            if strike(present[service]):
                killed[service] += 1
            else:
                waiting.append(service)
        print(f"{time():.0f} killed {' '.join(victims)}", flush=True)
        if monotonic() >= deadline:
            return killed
        sleep(chance.uniform(*PAUSE_S))


class Strict(Evidence):
    """Also about the seconds in which the exchanges were dead: they tell of those afterwards.

    Not about the last of them: the simulator makes them ahead when it starts again, and tells
    nobody who is connected by then.
    """

    def simulator(self, path: str) -> dict[str, Any]:
        page = super().simulator(path)
        if not path.startswith("ledger"):
            return page
        dead = set(page["uncertain"])
        return {**page, "uncertain": sorted(s for s in dead if s + MADE_AHEAD_S not in dead)}


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    monkeypatch.setenv("BIND_ADDRESS", BIND_ADDRESS)
    stack = containers.running(ROOT)
    assert stack is not None
    return Strict(stack.environ)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    """What every container has said, kept when the stack is gone."""
    path = tmp_path / "stack.log"
    yield path
    path.write_text(PROJECT.run("logs", "--no-color", "--timestamps"))
    print(f"logs in {path}")


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 2400)
@pytest.mark.usefixtures("logs")
def test_i3_what_is_killed_at_random_is_back_in_time_and_nothing_is_lost_or_doubled(
    evidence: Evidence,
) -> None:
    print(f"KILL_SEED={SEED} KILL_MINUTES={MINUTES:g}")
    until(all_healthy, BACK_WITHIN_S, verdicts)
    until(lambda: bool(evidence.story().signals), SIGNALLED_WITHIN_S, lambda: "no signal")

    killed = kill_at_random(random.Random(SEED), MINUTES * 60)

    sleep(NOTICED_S)
    took_s = NOTICED_S + until(all_healthy, BACK_WITHIN_S - NOTICED_S, verdicts)
    print(f"{killed.total()} kills, all healthy {took_s:.0f} s after the last: {dict(killed)}")
    assert killed.keys() == verdicts().keys()
    start, end = int(evidence.simulator("status")["live_from"]), int(time()) - SETTLED_S

    took_s = until(
        lambda: not gaps_without_reason(evidence, start, end),
        RECOVERED_WITHIN_S,
        lambda: gaps_without_reason(evidence, start, end),
    )
    audit = evidence.audit()
    print(
        f"all fetched after {took_s:.0f} s; {audit.compared} bars compared, {audit.in_gaps} in "
        f"gaps, trades {audit.trades}; s in gaps: {dict(seconds_in_gaps(evidence, start, end))}"
    )
    assert not audit.mismatches, audit.mismatches
    assert audit.compared > 10 * audit.in_gaps

    until(lambda: not problems(evidence), RECOVERED_WITHIN_S, lambda: problems(evidence))
    story = evidence.story()
    print(
        f"{len(story.signals)} signals, {len(story.opened)} trades opened, "
        f"{len(story.closed)} closed, outcomes {Counter(story.outcomes.values())}"
    )
    first, last = -(-start // 60) * 60, end // 60 * 60
    until(
        lambda: not minutes_that_differ(evidence, first, last),
        ROLLED_UP_WITHIN_S,
        lambda: minutes_that_differ(evidence, first, last),
    )
