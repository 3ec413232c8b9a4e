"""The shell commands from a folder of their own, as a user types them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.clones import clone_into


@pytest.fixture
def clone(short_path: Path) -> Path:
    """The project in an empty folder."""
    return clone_into(short_path)


def _run(clone: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(clone / command[0]), *command[1:]],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_a_malformed_line_is_named(clone: Path) -> None:
    (clone / ".env").write_text("# mine\nREDIS PORT=1\n")
    done = _run(clone, "scripts/up.sh", "--demo", "--native")
    assert done.returncode == 1
    assert ".env line 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_malformed_values_are_named_before_anything_starts(clone: Path) -> None:
    (clone / ".env").write_text("REDIS_PORT=seventy\nAGGR_GRACE_MS=-1\n")
    done = _run(clone, "scripts/up.sh", "--demo", "--native")
    assert done.returncode == 1
    assert "REDIS_PORT='seventy'" in done.stderr
    assert "AGGR_GRACE_MS='-1'" in done.stderr
    assert not (clone / ".local" / "run").exists()


def test_a_port_in_use_is_named_before_anything_starts(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = _run(clone, "scripts/up.sh", "--demo", "--native", REDIS_PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port}, needed by redis" in done.stderr
    assert "REDIS_PORT" in done.stderr
    assert not (clone / ".local" / "run").exists()


def test_down_without_anything_running_is_no_error(clone: Path) -> None:
    done = _run(clone, "scripts/down.sh")
    assert done.returncode == 0, done.stderr
    assert "Nothing was running" in done.stderr


def test_check_needs_the_demo(clone: Path) -> None:
    done = _run(clone, "scripts/up.sh", "--check", "--native")
    assert done.returncode == 1
    assert "--demo" in done.stderr


def test_an_unfit_python_is_named(clone: Path) -> None:
    done = _run(clone, "scripts/up.sh", "--demo", PYTHON="/bin/false")
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_benches_are_listed(clone: Path) -> None:
    done = _run(clone, "scripts/bench.sh")
    assert done.returncode == 0, done.stderr
    assert "pipeline" in done.stdout


def test_an_unknown_bench_is_named(clone: Path) -> None:
    done = _run(clone, "scripts/bench.sh", "nothing", "--json")
    assert done.returncode == 2
    assert "pipeline" in done.stderr
