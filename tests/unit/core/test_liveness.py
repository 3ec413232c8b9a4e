"""The container health check."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core import liveness
from services.core.service import heartbeat_file, ready_file
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


@pytest.mark.parametrize(("options", "before", "after"), [([], 0, 0), (["--ready"], 1, 0)])
def test_if_asked_a_service_is_not_well_before_it_says_that_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], before: int, after: int
) -> None:
    monkeypatch.setenv("HEARTBEAT_DIR", str(tmp_path))
    beat(tmp_path, 0.0)
    assert liveness.main(["worker", *options]) == before
    ready_file(ServiceSettings(heartbeat_dir=str(tmp_path)), "worker").touch()
    assert liveness.main(["worker", *options]) == after


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


WORKER = """
import sys, time
from pathlib import Path
from services.core.liveness import identity
path = Path(sys.argv[1])
path.write_text(identity())
print("on", flush=True)
while True:
    path.touch()
    time.sleep(0.02)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A service whose loop touches its file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "worker.alive")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_M1_what_stands_still_is_killed_though_it_takes_no_other_signal(
    tmp_path: Path, worker: subprocess.Popen[str]
) -> None:
    worker.send_signal(signal.SIGSTOP)
    assert liveness.end_frozen(tmp_path, "worker", 0.2) == ""
    assert liveness.end_frozen(tmp_path, "worker", 60) == "", "not for long enough"
    time.sleep(0.3)  # for so long it stands still
    said = liveness.end_frozen(tmp_path, "worker", 0.2)
    assert "was ended" in said
    assert worker.wait(20) == -signal.SIGKILL


def test_a_loop_that_turned_meanwhile_is_left_alone(
    tmp_path: Path, worker: subprocess.Popen[str]
) -> None:
    for _ in range(5):
        before = (tmp_path / "worker.alive").stat().st_mtime_ns
        assert liveness.end_frozen(tmp_path, "worker", 0.0) == ""
        while (tmp_path / "worker.alive").stat().st_mtime_ns == before:
            time.sleep(0.01)
    assert worker.poll() is None


def test_a_process_that_has_not_touched_the_file_itself_is_left_alone(
    tmp_path: Path, worker: subprocess.Popen[str]
) -> None:
    worker.send_signal(signal.SIGSTOP)
    pid, _, start = liveness.identity(worker.pid).partition(" ")
    # As if the pid had been used by the process before the last restart.
    (tmp_path / "worker.alive").write_text(f"{pid} {int(start) - 1}")
    for _ in range(3):
        assert liveness.end_frozen(tmp_path, "worker", 0.0) == ""
    assert worker.poll() is None


def test_who_has_left_no_name_is_left_alone(tmp_path: Path) -> None:
    beat(tmp_path, 600)
    for _ in range(3):
        assert liveness.end_frozen(tmp_path, "worker", 0.0) == ""


def test_the_command_ends_only_where_it_is_told_to(
    tmp_path: Path, worker: subprocess.Popen[str]
) -> None:
    worker.send_signal(signal.SIGSTOP)

    environ = {
        **os.environ, "HEARTBEAT_DIR": str(tmp_path), "SQUEEZEFLOW_RUN_INTERVAL": "0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "services.core.liveness", "worker", "--max-age-s", "0"]

    def look(*options: str) -> int:
        done = subprocess.run([*command, *options], env=environ, timeout=20, check=False)
        return done.returncode

    assert [look() for _ in range(2)] == [1, 1]
    assert worker.poll() is None
    assert look("--end-after-s", "0.01") == 1
    time.sleep(0.4)  # over three turns of the slowest loop
    assert look("--end-after-s", "0.01") == 1
    assert worker.wait(20) == -signal.SIGKILL
