"""Figures of local processes, held against what the kernel says by another way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.monitor.processes import Families, KnownProcesses, SupervisedProcesses
from services.monitor.usage import SourceError

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

BUSY = """
import time
print("on", flush=True)
while True:
    start = time.time()
    while time.time() - start < 0.02:
        pass
    time.sleep(0.02)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"

Spawn = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    children: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, 9)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def cpu_seconds(pid: int) -> float:
    """User and system time from the kernel's own table."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def test_cpu_and_memory_of_a_process_and_its_children_are_true(spawn: Spawn) -> None:
    parent = spawn(PARENT)
    child = child_of(parent.pid)
    families = Families()
    first = families.usage("worker", parent.pid)
    assert first is not None
    assert first.cpu_percent is None
    started, used = time.monotonic(), cpu_seconds(parent.pid) + cpu_seconds(child)
    time.sleep(1.0)  # the span that is measured
    second = families.usage("worker", parent.pid)
    used = cpu_seconds(parent.pid) + cpu_seconds(child) - used
    expected = 100 * used / (time.monotonic() - started)
    assert second is not None
    assert second.cpu_percent is not None
    assert second.cpu_percent > 1
    assert second.cpu_percent == pytest.approx(expected, abs=4.0)
    assert second.memory_bytes == pytest.approx(
        resident_bytes(parent.pid) + resident_bytes(child), rel=0.05
    )


def test_a_process_that_ended_has_no_figures(spawn: Spawn) -> None:
    child = spawn("print('on')")
    child.wait()
    assert Families().usage("worker", child.pid) is None


def test_a_new_pid_counts_as_a_restart_and_starts_a_new_measurement(spawn: Spawn) -> None:
    processes = KnownProcesses()
    processes.learn({"worker": spawn(BUSY).pid})
    assert [usage.restarts for usage in processes.sample()] == [0]
    processes.learn({"worker": spawn(BUSY).pid})
    usage = processes.sample()[0]
    assert (usage.state, usage.restarts, usage.cpu_percent) == ("running", 1, None)


def test_an_ended_process_is_shown_as_exited(spawn: Spawn) -> None:
    child = spawn("print('on')")
    child.wait()
    processes = KnownProcesses()
    processes.learn({"worker": child.pid})
    usage = processes.sample()[0]
    assert (usage.state, usage.memory_bytes) == ("exited", None)


def test_an_absent_supervisor_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="supervisord at"):
        SupervisedProcesses(str(tmp_path / "none.sock")).sample()


WRITER = """
import os, sys, time
print("on", flush=True)
with open({path!r}, "wb") as file:
    for _ in range(8):
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
print("done", flush=True)
time.sleep(60)
"""


def test_bytes_on_disk_are_those_the_kernel_counts(spawn: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "written"
    child = spawn(WRITER.replace("{path!r}", repr(str(path))))
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    figures = Families().usage("writer", child.pid)
    assert figures is not None
    assert figures.disk_written_bytes == counted(child.pid, "write_bytes")
    assert figures.disk_read_bytes == counted(child.pid, "read_bytes")


def counted(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
