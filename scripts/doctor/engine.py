"""The Docker engine: versions, and the daemon's settings that the stack counts on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.doctor import machine
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site, output
from scripts.stack import networks
from scripts.stack.compose import OLDEST_COMPOSE, Project
from scripts.stack.running import StackError

OLDEST_ENGINE = (20, 10)
DRIVERS = ("overlay2", "overlayfs", "btrfs", "zfs")
"""Storage drivers that neither copy every layer nor are given up."""
DAEMON_FILE = Path("/etc/docker/daemon.json")
LEAST_FILES = 16384
LIMITS = {
    "MemoryLimit": "memory",
    "CpuCfsQuota": "processor",
    "PidsLimit": "process",
}

_group = Group("Docker")


def check(site: Site) -> Iterator[Finding]:
    """Nothing here is needed by local processes, so an engine that is missing is no fault."""
    if shutil.which("docker") is None:
        yield _group.note("engine", "no docker command: services run as local processes")
        return
    try:
        info = json.loads(output("docker", "info", "--format", "{{json .}}"))
    except (OSError, ValueError) as error:
        yield _unreachable(str(error))
        return
    if errors := info.get("ServerErrors"):
        yield _unreachable("; ".join(errors))
        return
    yield _engine(info)
    compose = _compose()
    yield compose
    if compose.state == "ok":
        yield from _files(site)
    yield from _daemon(info, _read(DAEMON_FILE))
    if folder := info.get("DockerRootDir"):
        yield machine.disk(_group, folder, machine.existing(Path(folder)))


def _unreachable(reason: str) -> Finding:
    if "permission denied" in reason.lower():
        return _group.warn(
            "engine",
            "this user may not talk to it",
            "sudo usermod -aG docker $USER, then log in anew; or start with --native",
        )
    return _group.note(
        "engine",
        "does not answer: services run as local processes",
        "for containers: sudo systemctl start docker",
    )


def _engine(info: Mapping[str, Any]) -> Finding:
    version = str(info.get("ServerVersion", ""))
    if numbers(version) < OLDEST_ENGINE:
        oldest = ".".join(map(str, OLDEST_ENGINE))
        return _group.fail("engine", version, f"install Docker {oldest} or newer, or use --native")
    return _group.ok("engine", version)


def _compose() -> Finding:
    oldest = ".".join(map(str, OLDEST_COMPOSE))
    remedy = f"install docker-compose-plugin {oldest} or newer, or use --native"
    try:
        version = output("docker", "compose", "version", "--short").strip()
    except OSError as error:
        return _group.fail("compose", f"not there: {error}", remedy)
    if numbers(version) < OLDEST_COMPOSE:
        return _group.fail("compose", version, remedy)
    return _group.ok("compose", version)


def _files(site: Site) -> Iterator[Finding]:
    """The Compose files that would be used, and whether machine and engine hold what they ask."""
    project = Project(site.root, demo=False, environ={})
    try:
        config = json.loads(
            output(*project.command("config", "--format", "json"), folder=site.root)
        )
    except (OSError, ValueError) as error:
        yield _group.fail("files", str(error), "correct COMPOSE_FILE, .env or the file it names")
        return
    limits = sum(_limit(service) for service in config["services"].values())
    total, _ = machine.memory()
    found = f"limits of {limits / machine.GB:.1f} GB of memory"
    if limits > total:
        yield _group.note("files", f"{found}, more than there is: enough for few symbols")
    else:
        yield _group.ok("files", found)
    yield _networks(site, config)


def _networks(site: Site, config: Mapping[str, Any]) -> Finding:
    own = {Project(site.root, demo, {}).name for demo in (True, False)}
    try:
        found = networks.in_the_way(config, own)
    except StackError as error:
        return _group.fail("networks", str(error), "correct .env, or restart the Docker engine")
    if found:
        taken = f"addresses of the stack's are taken by {', '.join(found)}"
        return _group.fail("networks", taken, networks.REMEDY)
    return _group.ok("networks", "addresses are free")


def _limit(service: Mapping[str, Any]) -> int:
    """Bytes that all replicas of a service may take together."""
    deploy = service.get("deploy") or {}
    limit = ((deploy.get("resources") or {}).get("limits") or {}).get("memory", 0)
    return int(limit) * int(deploy.get("replicas") or 1)


def numbers(version: str) -> tuple[int, int]:
    """The first two numbers of a version; zeros if there are none."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _read(path: Path) -> dict[str, Any] | str:
    """The daemon's file; the reason if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        return str(error)
    return found if isinstance(found, dict) else "it is no JSON object"


def _daemon(info: Mapping[str, Any], written: dict[str, Any] | str) -> Iterator[Finding]:
    """What the daemon does, and what its file says where it does not tell."""
    driver = str(info.get("Driver", ""))
    if driver in DRIVERS:
        yield _group.ok("storage", driver)
    else:
        yield _group.warn(
            "storage", f"{driver} copies or is slow", f'"storage-driver": "overlay2" {_where()}'
        )
    missing = [what for key, what in LIMITS.items() if info.get(key) is False]
    if missing:
        yield _group.warn(
            "limits",
            f"the kernel does not keep {' and '.join(missing)} limits",
            "boot with cgroup_enable=memory swapaccount=1, or use a kernel with cgroup 2",
        )
    else:
        yield _group.ok("limits", f"kept, cgroup {info.get('CgroupVersion', '1')}")
    if not any("seccomp" in option for option in info.get("SecurityOptions") or ()):
        yield _group.warn("seccomp", "off", "leave the engine's default profile on")
    if isinstance(written, str):
        yield _group.warn("daemon.json", written, f"correct {DAEMON_FILE}")
        return
    yield _logging(info, written)
    yield _ulimits(written)


def _logging(info: Mapping[str, Any], written: Mapping[str, Any]) -> Finding:
    """The stack's services bring their own rotation; this is for all other containers."""
    driver = str(info.get("LoggingDriver", ""))
    options = written.get("log-opts") or {}
    if driver in ("local", "journald") or (driver == "json-file" and options.get("max-size")):
        return _group.ok("logs", driver)
    return _group.note(
        "logs",
        f"{driver} without a bound, but for the stack's own services",
        f'"log-driver": "json-file", "log-opts": {{"max-size": "10m", "max-file": "3"}} {_where()}',
    )


def _ulimits(written: Mapping[str, Any]) -> Finding:
    """The services ask for their own; a lower hard limit of the daemon's would refuse them."""
    limit = (written.get("default-ulimits") or {}).get("nofile") or {}
    hard = limit.get("Hard")
    if isinstance(hard, int) and 0 <= hard < LEAST_FILES:
        return _group.warn(
            "open files",
            f"{hard} at most",
            f'"default-ulimits": {{"nofile": {{"Name": "nofile", "Soft": 65536, "Hard": 65536}}}} '
            f"{_where()}",
        )
    return _group.ok("open files", f"{hard} at most" if hard else "as the services ask for")


def _where() -> str:
    return f"in {DAEMON_FILE}, then restart the engine"
