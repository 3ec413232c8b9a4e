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
from services.monitor.usage import SourceError, sample_host

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
    assert first[0] is None
    started, used = time.monotonic(), cpu_seconds(parent.pid) + cpu_seconds(child)
    time.sleep(1.0)  # the span that is measured
    second = families.usage("worker", parent.pid)
    used = cpu_seconds(parent.pid) + cpu_seconds(child) - used
    expected = 100 * used / (time.monotonic() - started)
    assert second is not None
    percent, memory = second
    assert percent is not None
    assert percent > 1
    assert percent == pytest.approx(expected, abs=4.0)
    assert memory == pytest.approx(resident_bytes(parent.pid) + resident_bytes(child), rel=0.05)


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


def test_host_figures_agree_with_the_kernel() -> None:
    host = sample_host(("/", "/does/not/exist"))
    table = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    total = int(table["MemTotal"].split()[0]) * 1024
    available = int(table["MemAvailable"].split()[0]) * 1024
    assert host.memory_total_bytes == total
    assert host.memory_available_bytes == pytest.approx(available, abs=total * 0.1)
    assert [disk.path for disk in host.disks] == ["/"]
    figures = os.statvfs("/")
    assert host.disks[0].free_bytes == pytest.approx(figures.f_bavail * figures.f_frsize, rel=0.05)
