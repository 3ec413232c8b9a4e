"""I5, its hour: nothing grows, nothing is lost, doubled or invented, under load and troubles."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.soak.run import Options, run

HOURS = float(os.environ.get("SOAK_HOURS", "1"))
SETTLED_S = 1800


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(HOURS * 3600 + SETTLED_S)
def test_i5_under_three_times_the_load_and_troubles_each_ten_minutes_nothing_grows() -> None:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        verdict = run(Options(HOURS), Path(folder))
    print(verdict.text)
    assert verdict.problems == []
    assert verdict.counted["signals"]
    assert verdict.counted["trades closed"]
