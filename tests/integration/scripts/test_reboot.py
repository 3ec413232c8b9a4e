"""I4: the machine loses its power and starts again; what systemd runs then brings all of it back.

Local processes: containers are brought back by the engine.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import pytest

from scripts.stack.evidence import Evidence
from scripts.stack.native import running
from scripts.stack.supervise import leftovers
from tests.accounting import stored_bars
from tests.operator.place import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BACK_WITHIN_S = 120.0
AT_BOOT = "./scripts/up.sh --native"
"""What the unit of systemd in docs/operations.md runs."""

LOOK = "python3 scripts/health_check.py"
COLLECTED_S = 20


def evidence(place: Place) -> Evidence:
    stack = running(place.root)
    assert stack is not None
    return Evidence(stack.environ)


def bars_until(place: Place, end_s: int) -> list[tuple[str, int]]:
    return sorted(stored_bars(evidence(place), end_s))


def cut_the_power(place: Place) -> None:
    """Nothing of the stack is asked, and nothing of it survives."""
    processes = leftovers(place.root)
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
