"""I4: the machine loses its power and starts again; what systemd runs then brings all of it back.

Local processes: containers are brought back by the engine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from aggr_server.wire import TIMEFRAMES
from scripts.stack.evidence import Evidence
from scripts.stack.native import running
from scripts.stack.supervise import leftovers
from tests.operator.place import Place, exchanges, messages, native

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BACK_WITHIN_S = 120.0
AT_BOOT = "./scripts/up.sh --native"
"""What the unit of systemd in docs/operations.md runs."""

LOOK = "python3 scripts/health_check.py"
COLLECTED_S = 20
SECONDS = TIMEFRAMES[0]


@pytest.fixture
def place(short_path: Path) -> Iterator[Place]:
    with exchanges(short_path) as venues, messages() as channel:
        made = native(short_path, venues, channel)
        try:
            yield made
        finally:
            made.run("./scripts/down.sh")


def evidence(place: Place) -> Evidence:
    stack = running(place.root)
    assert stack is not None
    return Evidence(stack.environ)


def bars_until(place: Place, end_s: int) -> list[tuple[str, int]]:
    rows = evidence(place).influx(
        f'SELECT close FROM "{SECONDS.retention_policy}"."{SECONDS.measurement}" '
        f"WHERE time < {end_s}s GROUP BY market"
    )
    return sorted((row["market"], row["time"]) for row in rows)


def cut_the_power(place: Place) -> None:
    """Nothing of the stack is asked, and nothing of it survives."""
    marked = leftovers(place.root)
    # Redis writes its title over its environment, where the mark is.
    processes = {*marked, *(child for one in marked for child in one.children(recursive=True))}
    for process in processes:
        process.suspend()  # or one would start what another ended
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


def test_i4_after_a_power_cut_all_is_healthy_within_two_minutes_and_nothing_is_lost(
    place: Place,
) -> None:
    place.must(AT_BOOT)
    begun = time.time()
    while not (known := bars_until(place, int(begun) + COLLECTED_S)) or (
        known[-1][1] < (int(begun) + COLLECTED_S - 5) * 1000
    ):
        assert time.time() < begun + 120, "no bars are stored"
        time.sleep(2)

    cut_the_power(place)
    cut = time.monotonic()
    place.must(AT_BOOT)
    while "System Health: HEALTHY" not in (said := place.run(LOOK).text):
        assert time.monotonic() < cut + BACK_WITHIN_S, said
        time.sleep(1)

    print(f"healthy {time.monotonic() - cut:.0f} s after the start")
    assert time.monotonic() < cut + BACK_WITHIN_S
    assert set(known) <= set(bars_until(place, int(begun) + COLLECTED_S))
