"""Figures of the machine, held against what the kernel says by another way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.monitor.host import HostSampler, disk, use_procfs

PROC = {
    "stat": "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\nbtime 1\n",
    "meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\nBuffers: 0 kB\n"
    "Cached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nShmem: 0 kB\n"
    "SwapTotal: 400 kB\nSwapFree: 300 kB\n",
    "loadavg": "1.50 1.20 1.00 2/300 4711\n",
    "vmstat": "pswpin 0\npswpout 0\n",
}


@pytest.fixture
def procfs(tmp_path: Path) -> Iterator[Path]:
    """A machine of its own, as a container sees it under another path."""
    for name, text in PROC.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    use_procfs("/proc")


def meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {k: int(v.split()[0]) * 1024 for k, _, v in (line.partition(":") for line in lines)}


def test_memory_swap_and_load_agree_with_the_kernel() -> None:
    host = HostSampler(("/", "/does/not/exist")).sample()
    table = meminfo()
    total = table["MemTotal"]
    assert host.memory_total_bytes == total
    assert host.memory_available_bytes == pytest.approx(table["MemAvailable"], abs=total * 0.1)
    expected = 100 * (1 - table["MemAvailable"] / total)
    assert host.memory_percent == pytest.approx(expected, abs=10)
    assert host.swap_total_bytes == table["SwapTotal"]
    assert host.load_1m == pytest.approx(os.getloadavg()[0], abs=0.5)
    assert [found.path for found in host.disks] == ["/"]


def test_cpu_is_the_share_of_all_cores_since_the_last_sample_whichever_thread_asks() -> None:
    sampler = HostSampler(())
    assert sampler.sample().cpu_percent is None
    before = busy_ticks()
    time.sleep(1.0)  # the span that is measured
    found = sampler.sample().cpu_percent
    after = busy_ticks()
    expected = 100 * (after[0] - before[0]) / (after[1] - before[1])
    assert found == pytest.approx(expected, abs=5)


def busy_ticks() -> tuple[int, int]:
    """Busy and all ticks of the machine, without those of guests, counted twice."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return user + nice + system + irq + softirq + steal, sum(
        (user, nice, system, idle, iowait, irq, softirq, steal)
    )


def test_a_container_reads_the_machine_where_its_proc_is_mounted(procfs: Path) -> None:
    use_procfs(str(procfs))
    sampler = HostSampler(())
    first = sampler.sample()
    (procfs / "stat").write_text(PROC["stat"].replace("100 0 50 800 50", "160 0 80 900 60"))
    second = sampler.sample()
    assert first.memory_percent == pytest.approx(75)
    assert first.swap_percent == pytest.approx(25)
    assert first.load_1m == 1.5
    # Of 200 ticks since, 100 were idle and 10 waited for a disk.
    assert second.cpu_percent == pytest.approx(45)


def test_a_proc_that_is_not_there_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        use_procfs(str(tmp_path / "none"))
    assert psutil.PROCFS_PATH == "/proc"


def test_a_disk_is_as_full_as_df_says(tmp_path: Path) -> None:
    found = disk(str(tmp_path))
    assert found is not None
    shown = subprocess.run(
        ["df", "--output=pcent,avail", "-B1", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    # df rounds up.
    assert found.used_percent == pytest.approx(float(shown[-2].rstrip("%")), abs=1.0)
    assert found.free_bytes == pytest.approx(int(shown[-1]), rel=0.05)


ON_A_SMALL_DISK = """
import os, sys
from services.monitor.host import disk
folder = sys.argv[1]
with open(folder + "/filler", "wb") as file:
    file.write(bytes(3 << 20))
found = disk(folder)
print(found.used_percent, found.used_bytes, found.free_bytes)
"""


def test_a_small_disk_is_as_full_as_what_was_written(tmp_path: Path) -> None:
    mounting = f'mount -t tmpfs -o size=4m tmpfs "{tmp_path}" && exec "$@"'
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounting, "sh"]
    done = subprocess.run(
        [*within, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        return  # nobody may mount here; what df says is compared above
    assert done.stdout.split() == ["75.0", str(3 << 20), str(1 << 20)], done.stderr
