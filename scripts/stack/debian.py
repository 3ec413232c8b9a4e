"""Redis and InfluxDB from PATH, or else from Debian's packages, unpacked into `.local/`.

Needs no root: apt runs with folders of its own, downloads only, and checks Debian's signatures as
usual; `dpkg-deb` unpacks. Shared libraries this machine lacks come along the same way.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.stack.progress import Progress
from scripts.stack.running import StackError

PACKAGES = ("redis-server", "redis-tools", "influxdb")
PROGRAMS = {name: f"usr/bin/{name}" for name in ("redis-server", "influxd")}
# The C library must be the one of the loader that is already running.
NEVER_UNPACK = ("libc6_",)
APT_TIMEOUT_S = 300


class NotFetched(Exception):
    """Packages could not be fetched; the text says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The two executables, or small scripts that start them with the libraries beside them."""

    redis_server: str
    influxd: str


def find(local: Path) -> Programs | None:
    """The programs from PATH, or those unpacked earlier; None if either is missing."""
    redis, influx = shutil.which("redis-server"), shutil.which("influxd")
    if redis and influx and _runs(redis) and _runs(influx):
        return Programs(redis, influx)
    return _in_folder(local / "debian" / "bin")


def ensure(local: Path, progress: Progress) -> Programs:
    """As `find`, fetching what is missing. Raises `StackError` with the remedy."""
    if programs := find(local):
        return programs
    folder = local / "debian"
    try:
        fetch(folder, PACKAGES, PROGRAMS, "redis, influxdb", progress)
    except NotFetched as error:
        raise StackError(_remedy(str(error))) from error
    programs = _in_folder(folder / "bin")
    if programs is None:
        raise StackError(_remedy("the packages fetched do not run on this machine"))
    tidy(folder)
    return programs


def fetch(
    folder: Path,
    packages: Sequence[str],
    programs: Mapping[str, str],
    name: str,
    progress: Progress,
) -> None:
    """Unpack `packages` and what they need into `folder`, with starters for `programs` in `bin`.

    `programs`: name -> path in the package; `name`: what progress is told about. Raises
    `NotFetched`.
    """
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]:
        raise NotFetched(f"{' and '.join(missing)} not found")
    progress.say(name, "fetching Debian's packages")
    for part in ("state/lists/partial", "cache/archives/partial", "log"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _apt(folder, "update")
    _apt(
        folder,
        *("install", "--yes", "--download-only", "--reinstall", "--no-install-recommends"),
        *packages,
    )
    progress.say(name, "unpacking")
    unpack(folder / "cache" / "archives", folder / "root")
    write_starters(folder / "bin", folder / "root", programs)


def tidy(folder: Path) -> None:
    """Remove what is of no use once the programs run."""
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / "state")


def unpack(archives: Path, root: Path) -> None:
    """Unpack every package in `archives` except the C library; complete or not at all."""
    temporary = root.with_name("root.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for package in sorted(archives.glob("*.deb")):
        if not package.name.startswith(NEVER_UNPACK):
            subprocess.run(["dpkg-deb", "-x", str(package), str(temporary)], check=True)
    shutil.rmtree(root, ignore_errors=True)
    temporary.rename(root)


def write_starters(folder: Path, root: Path, programs: Mapping[str, str] = PROGRAMS) -> None:
    """Scripts in `folder` that run the programs in `root` with the libraries found there.

    The search path is set for these programs alone: the rest of the machine keeps its own.
    """
    triplet = f"{platform.machine()}-linux-gnu"
    places = [root / "usr/lib" / triplet, root / "lib" / triplet, root / "usr/lib", root / "lib"]
    # Sound libraries keep a private one in a folder of its own, which they know by its whole path.
    places += [place / "pulseaudio" for place in places]
    libraries = ":".join(str(place) for place in places if place.is_dir())
    # A machine without fonts gets those that came along.
    fonts = f"FONTCONFIG_SYSROOT={shlex.quote(str(root))} " if (root / "etc/fonts").is_dir() else ""
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        starter = folder / name
        command = f"{fonts}exec {shlex.quote(str(root / program))}"
        starter.write_text(
            f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(libraries)} {command} "$@"\n',
            encoding="utf-8",
        )
        starter.chmod(0o755)


def _apt(folder: Path, *arguments: str) -> None:
    options = [
        f"Dir::State={folder}/state",
        f"Dir::Cache={folder}/cache",
        f"Dir::Log={folder}/log",
        "Dir::State::status=/var/lib/dpkg/status",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=",
        "Acquire::Retries=3",
        "Acquire::http::Timeout=30",
    ]
    command = ["apt-get", "-qq", *(part for o in options for part in ("-o", o)), *arguments]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        subprocess.run(
            command,
            check=True,
            env=environ,
            timeout=APT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.output.splitlines() if line.startswith("E:")]
        raise NotFetched("; ".join(lines[:3]) or "apt-get failed") from error
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"apt-get took over {APT_TIMEOUT_S} s") from error


def _in_folder(folder: Path) -> Programs | None:
    redis, influx = str(folder / "redis-server"), str(folder / "influxd")
    return Programs(redis, influx) if _runs(redis) and _runs(influx) else None


def _runs(program: str) -> bool:
    arguments = ["--version"] if program.endswith("redis-server") else ["version"]
    try:
        done = subprocess.run([program, *arguments], capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _remedy(cause: str) -> str:
    return (
        f"Redis and InfluxDB 1.x are not in PATH and could not be fetched: {cause}. Install "
        "redis-server (7 or newer) and influxd (1.6 to 1.8) by this machine's own means, so that "
        "both are in PATH, or start a Docker engine; then try again."
    )
