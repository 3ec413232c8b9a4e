"""The container health check."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.core import liveness
from services.core.service import heartbeat_file
from services.core.settings import ServiceSettings


def test_it_looks_where_services_write_by_default() -> None:
    settings = ServiceSettings()
    assert heartbeat_file(settings, "x") == Path(liveness.DEFAULT_DIR) / "x.alive"


def beat(folder: Path, age_s: float) -> None:
    path = folder / "worker.alive"
    path.touch()
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_a_loop_that_turned_lately_is_alive(tmp_path: Path) -> None:
    beat(tmp_path, 1.0)
    assert liveness.check(tmp_path, "worker", 5.0)[0]


def test_a_loop_that_stands_still_is_not(tmp_path: Path) -> None:
    beat(tmp_path, 6.0)
    alive, reason = liveness.check(tmp_path, "worker", 5.0)
    assert not alive
    assert "worker turned last 6.0 s ago" in reason


def test_a_service_that_never_turned_is_not(tmp_path: Path) -> None:
    alive, reason = liveness.check(tmp_path, "worker", 5.0)
    assert not alive
    assert "has not turned yet" in reason


@pytest.mark.parametrize(("age_s", "status"), [(0.0, 0), (30.0, 1)])
def test_the_command_answers_by_its_exit_status(tmp_path: Path, age_s: float, status: int) -> None:
    beat(tmp_path, age_s)
    done = subprocess.run(
        [sys.executable, "-m", "services.core.liveness", "worker", "--max-age-s", "5"],
        env={**os.environ, "HEARTBEAT_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout.startswith("worker turned")


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, services.core.liveness; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=20, check=False).returncode == 0
