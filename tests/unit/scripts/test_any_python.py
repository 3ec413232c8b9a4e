"""Commands that are run as `python3 scripts/NAME.py` begin under whatever Python that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
OLDER = """
import datetime, runpy, sys
del datetime.UTC  # new in 3.11, which is needed only after the change to the project's own Python
sys.modules["tomllib"] = None
sys.argv = [sys.argv[1], "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    "name", ["backtest", "explain", "health_check", "kill_switch", "notify_test"]
)
def test_an_older_python_without_our_packages_gets_as_far_as_the_options(name: str) -> None:
    done = subprocess.run(
        # Without packages: as that of the machine.
        [sys.executable, "-I", "-S", "-c", OLDER, str(SCRIPTS / f"{name}.py")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name}.py")
