"""Whatever goes wrong, every second equals the ledger or lies in a recorded gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exactness.run import Options, run
from tests.exactness.venues import TWELVE

pytestmark = pytest.mark.alone
SPEED = 10.0
LONG_SPEED = 12.0
SEEDS = (1, 2, 3, 4, 5)


def test_bars_equal_the_tape_when_nothing_goes_wrong(tmp_path: Path) -> None:
    verdict = run(Options(1, 1.0, SPEED, TWELVE, faults=False), tmp_path)
    assert (verdict.problems, verdict.in_gaps) == ([], 0), verdict.text
    assert verdict.worst_lag_ms < 5000


@pytest.mark.timeout(120)
def test_three_minutes_of_everything_that_can_go_wrong(tmp_path: Path) -> None:
    verdict = run(Options(7, 3.0, SPEED, TWELVE), tmp_path)
    assert verdict.problems == [], verdict.text
    assert verdict.collector_starts == 2
    assert len(verdict.faults) >= 12


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_half_an_hour_of_everything_that_can_go_wrong(seed: int, tmp_path: Path) -> None:
    verdict = run(Options(seed, 30.0, LONG_SPEED, TWELVE), tmp_path)
    (tmp_path / "verdict.json").write_text(verdict.text)
    assert verdict.problems == [], verdict.text
    assert verdict.collector_starts >= 3
