"""The demo in real containers, on loopback addresses of its own.

Needs a Docker engine; `--docker` makes its absence a failure instead of local processes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Beside whatever else listens on 127.0.0.1 of this machine.
BIND_ADDRESS = "127.0.0.19"

Script = Callable[..., subprocess.CompletedProcess[str]]


def run_script(
    name: str, *arguments: str, timeout_s: float = 1500
) -> subprocess.CompletedProcess[str]:
    """Run a script of the project as a user would."""
    return subprocess.run(
        [str(ROOT / "scripts" / name), *arguments],
        cwd=ROOT,
        env={**os.environ, "BIND_ADDRESS": BIND_ADDRESS},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def script() -> Script:
    """`script("up.sh", "--demo")`: run a script, return what it said."""
    return run_script


@pytest.fixture(scope="module")
def demo() -> Iterator[None]:
    """The demo, up and healthy in containers; gone afterwards, for the stacks of other tests."""
    done = run_script("up.sh", "--demo", "--docker")
    assert done.returncode == 0, done.stderr
    yield
    run_script("down.sh")
