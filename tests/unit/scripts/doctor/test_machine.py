from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.doctor import machine
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site

GB = 10**9


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def proc(folder: Path, *, total_kb: int, free_kb: int, overcommit: str = "1") -> Path:
    (folder / "sys/vm").mkdir(parents=True)
    (folder / "sys/vm/overcommit_memory").write_text(f"{overcommit}\n")
    (folder / "meminfo").write_text(
        f"MemTotal:  {total_kb} kB\nMemFree: 5 kB\nMemAvailable: {free_kb} kB\nHugePages_Total: 0\n"
    )
    return folder


def test_memory_is_what_the_kernel_tells_in_bytes(tmp_path: Path) -> None:
    assert machine.memory(proc(tmp_path, total_kb=2000, free_kb=1000)) == (2_048_000, 1_024_000)


@pytest.mark.parametrize(
    ("total_kb", "free_kb", "states"),
    [
        (16_100_000, 12_000_000, ["ok", "ok"]),
        (4_000_000, 2_000_000, ["note", "ok"]),
        (2_000_000, 1_500_000, ["warn", "ok"]),
        (16_100_000, 500_000, ["ok", "warn"]),
    ],
)
def test_too_little_memory_is_told(
    tmp_path: Path, total_kb: int, free_kb: int, states: list[str]
) -> None:
    found = machine._memory(proc(tmp_path, total_kb=total_kb, free_kb=free_kb))
    assert [finding.state for finding in found] == states


@pytest.mark.parametrize(("value", "state"), [("1", "ok"), ("0", "warn"), ("2", "warn")])
def test_redis_needs_overcommitted_memory(tmp_path: Path, value: str, state: str) -> None:
    found = machine._overcommit(proc(tmp_path, total_kb=1, free_kb=1, overcommit=value))
    assert found.state == state
    assert ("sysctl" in found.remedy) == (state == "warn")


def test_a_machine_that_does_not_tell_is_not_blamed(tmp_path: Path) -> None:
    assert machine._overcommit(tmp_path).state == "note"


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(100, 50, "ok"), (100, 15, "warn"), (30, 9, "warn"), (1000, 40, "fail"), (3, 1.5, "fail")],
)
def test_room_on_the_disk_is_judged_by_size_and_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total: float, free: float, state: str
) -> None:
    usage = Usage(int(total * GB), int((total - free) * GB), int(free * GB))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert machine.disk(Group("x"), "data", tmp_path).state == state


def test_a_python_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    assert machine._python().state == "fail"


def test_few_open_files_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1_048_576))
    found = machine._files()
    assert found.state == "warn"
    assert "ulimit -n" in found.remedy


def test_every_folder_that_grows_is_looked_at_once_a_disk(tmp_path: Path) -> None:
    site = Site(tmp_path, {"SQUEEZEFLOW_DATA": "/proc/not/there", "BACKUP_DIR": "../away"})
    found: list[Finding] = list(machine._disks(site))
    assert {"local data", "backups", "SQUEEZEFLOW_DATA"} == {
        name for finding in found for name in finding.found.partition(":")[0].split(", ")
    }
    assert len(found) == len({os.stat(p).st_dev for p in (tmp_path, "/proc")})
