"""The machine: Python, processors, memory, disks, and the kernel's settings."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site

GB = 10**9
OLDEST, NEWEST = (3, 11), (3, 13)
ARCHITECTURES = ("x86_64", "aarch64")
LEAST_CORES, FULL_CORES = 2, 8
LEAST_MEMORY, FULL_MEMORY = 3.5 * GB, 15.5 * GB
"""What a machine sold with 4 GB, and with 16 GB, tells of itself."""
LOW_MEMORY = 1 * GB
LEAST_DISK, LOW_DISK = 2 * GB, 10 * GB
FULL_SHARE = 0.95
NEARLY_FULL_SHARE = 0.80
LEAST_FILES = 4096
PROC = Path("/proc")

_group = Group("Machine")


def check(site: Site) -> Iterator[Finding]:
    """Everything here needs Python alone."""
    yield _python()
    yield _system()
    yield _cores()
    yield from _memory()
    yield _overcommit()
    yield _files()
    yield from _disks(site)


def _python() -> Finding:
    found = platform.python_version()
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return _group.fail("python", found, "install Python 3.11, 3.12 or 3.13, or set PYTHON")
    return _group.ok("python", found)


def _system() -> Finding:
    system, architecture = platform.system(), platform.machine()
    found = f"{system} {platform.release()}, {architecture}"
    if system != "Linux":
        return _group.fail("system", found, "use Linux, in a virtual machine if need be")
    if architecture not in ARCHITECTURES:
        return _group.warn("system", found, "use amd64 or arm64: nothing else was tried")
    return _group.ok("system", found)


def _cores() -> Finding:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cores < LEAST_CORES:
        return _group.warn("cores", str(cores), f"{LEAST_CORES} carry the demo, {FULL_CORES} all")
    if cores < FULL_CORES:
        return _group.note("cores", f"{cores}; {FULL_CORES} carry all exchanges")
    return _group.ok("cores", str(cores))


def _memory(proc: Path = PROC) -> Iterator[Finding]:
    try:
        total, free = memory(proc)
    except (OSError, LookupError, ValueError) as error:
        yield _group.note("memory", f"not known: {error}")
        return
    found = f"{total / GB:.1f} GB"
    if total < LEAST_MEMORY:
        yield _group.warn("memory", found, "4 GB carry the demo, 16 GB all exchanges")
    elif total < FULL_MEMORY:
        yield _group.note(
            "memory", f"{found}; 16 GB carry all exchanges, and all limits of the containers"
        )
    else:
        yield _group.ok("memory", found)
    if free < LOW_MEMORY:
        yield _group.warn(
            "free memory",
            f"{free / GB:.1f} GB",
            "find out with top what takes it; at none the kernel ends processes",
        )
    else:
        yield _group.ok("free memory", f"{free / GB:.1f} GB")


def memory(proc: Path = PROC) -> tuple[int, int]:
    """Memory of the machine and what of it can be had, in bytes."""
    found: dict[str, int] = {}
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        found[name] = 1024 * int(rest.split()[0])
    return found["MemTotal"], found.get("MemAvailable", found["MemFree"])


def _overcommit(proc: Path = PROC) -> Finding:
    """Redis forks to save; with 0 the kernel may refuse that when memory is half full."""
    try:
        value = (proc / "sys/vm/overcommit_memory").read_text(encoding="ascii").strip()
    except OSError as error:
        return _group.note("overcommit", f"not known: {error.strerror}")
    found = f"vm.overcommit_memory = {value}"
    if value == "1":
        return _group.ok("overcommit", found)
    return _group.warn(
        "overcommit",
        f"{found}: Redis may be unable to save when memory is short",
        "as root: echo vm.overcommit_memory=1 > /etc/sysctl.d/90-squeezeflow.conf; sysctl --system",
    )


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} at once, {hard} at most"
    if soft < LEAST_FILES:
        return _group.warn(
            "open files",
            found,
            "for local processes: ulimit -n 16384, for good in /etc/security/limits.conf",
        )
    return _group.ok("open files", found)


def data_paths(site: Site) -> dict[str, Path]:
    """What is kept where, for everything that grows."""
    paths = {"local data": site.local, "backups": _under(site, site.setting("BACKUP_DIR"))}
    for setting in ("SQUEEZEFLOW_DATA", "FREQTRADE_DATA_DIR", "AGGR_DATA_DIR"):
        if value := site.setting(setting):
            paths[setting] = _under(site, value)
    return paths


def _under(site: Site, path: str) -> Path:
    return (site.root / (path or "backups")).absolute()


def _disks(site: Site) -> Iterator[Finding]:
    """One finding for each disk, named after all that lies on it."""
    seen: dict[int, tuple[list[str], Path]] = {}
    for name, path in data_paths(site).items():
        there = existing(path)
        names, _ = seen.setdefault(there.stat().st_dev, ([], there))
        names.append(name)
    for names, path in seen.values():
        yield disk(_group, ", ".join(names), path)


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    while not path.exists():
        path = path.parent
    return path


def disk(group: Group, title: str, path: Path) -> Finding:
    """How much room there is on the disk of `path`."""
    total, _, free = shutil.disk_usage(path)
    used = 1 - free / total if total else 1.0
    found = f"{title}: {free / GB:.0f} GB free, {used:.0%} used"
    remedy = "free space or enlarge it; 30 days of two symbols take about 10 GB"
    inodes = os.statvfs(path)
    if inodes.f_files and inodes.f_favail < 0.02 * inodes.f_files:
        return group.fail("disk", f"{title}: no more files fit", "remove what has many files")
    if free < LEAST_DISK or used > FULL_SHARE:
        return group.fail("disk", found, remedy)
    if free < LOW_DISK or used > NEARLY_FULL_SHARE:
        return group.warn("disk", found, remedy)
    return group.ok("disk", found)
