"""The services of the stack, running, broken or ended: how each is, and its last error."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from scripts.doctor import logs
from scripts.doctor.files import foreign_owner
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site, output
from scripts.stack import sources
from scripts.stack.layout import Layout
from scripts.stack.running import StackError
from services.core.labels import COMPOSE_FOLDER, COMPOSE_PROJECT, COMPOSE_SERVICE

DEMO = "squeezeflow-demo"
PROJECTS = ("squeezeflow", DEMO)
LOG_LINES = "200"
RECENT_S = 86_400.0
START = "./scripts/up.sh"
OUT_OF_MEMORY = "killed: it took more memory than its limit"

_group = Group("Services")


def check(site: Site) -> Iterator[Finding]:
    """Local processes and containers, whichever there are."""
    found = [*_native(site), *_containers(site)]
    yield from found or _ended(site)
    if found and sources.outdated(site.root):
        changed = "or settings have changed since the start"
        yield _group.note("sources", changed, f"to run with them: ./scripts/down.sh, then {START}")


def is_up(site: Site) -> bool:
    """Whether a stack of this clone runs, in one way or the other."""
    return supervised(site) or any(c["State"]["Running"] for c in containers(site))


def is_demo(site: Site) -> bool:
    """Whether what runs is the demo, which needs no exchange."""
    if supervised(site):
        return bool((site.state() or {}).get("demo"))
    running = [c for c in containers(site) if c["State"]["Running"]]
    return any(c["Config"]["Labels"].get(COMPOSE_PROJECT) == DEMO for c in running)


def supervised(site: Site) -> bool:
    """Whether the supervisor of the local processes answers."""
    path = Layout(site.root, demo=False).socket
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def containers(site: Site) -> list[dict[str, Any]]:
    """What `docker inspect` tells of the containers made from this clone; none without engine."""
    found: list[dict[str, Any]] = []
    for project in PROJECTS:
        label = f"label={COMPOSE_PROJECT}={project}"
        try:
            identities = output("docker", "ps", "-aq", "--no-trunc", "--filter", label).split()
            found += json.loads(output("docker", "inspect", *identities)) if identities else []
        except (OSError, ValueError):
            continue  # no engine, or one of them went away meanwhile
    return [c for c in found if c["Config"]["Labels"].get(COMPOSE_FOLDER) == str(site.root)]


def _native(site: Site) -> Iterator[Finding]:
    run = Layout(site.root, demo=False).run
    if run.exists() and not os.access(run, os.X_OK):
        owner = foreign_owner(run)
        yield _group.fail(
            "supervisor", f"belongs to {owner}", f"sudo -u {owner} ./scripts/doctor.sh"
        )
        return
    if not supervised(site):
        if site.state() is not None:
            yield _group.fail(
                "supervisor",
                "it is gone, though nobody ran down.sh: a reboot, or it was killed",
                f"{START} stops what is left and starts all of it anew",
            )
            yield from _ended(site)
        return
    if not site.packages:
        yield _group.fail("packages", "the stack runs, but .local/venv is broken", START)
        return
    from scripts.stack import native

    try:
        stack = native.running(site.root)
        states = stack.states() if stack else {}
    except StackError as error:
        yield _group.fail("supervisor", str(error), "./scripts/down.sh, then ./scripts/up.sh")
        return
    for name, state in states.items():
        path = Layout(site.root, demo=False).log / f"{name}.log"
        yield _judged(
            name, state, logs.end_of(path), f"{START}; log: {path.relative_to(site.root)}"
        )


def _judged(name: str, state: str, log: str, remedy: str) -> Finding:
    if state == "healthy":
        return _group.ok(name, "healthy")
    said = logs.last_error(log) or logs.last_line(log)
    return _group.fail(name, f"{state}\n{said}" if said else state, remedy)


def _containers(site: Site) -> Iterator[Finding]:
    for container in containers(site):
        name = container["Config"]["Labels"][COMPOSE_SERVICE]
        state = verdict(container["State"])
        if state == "healthy":
            yield _group.ok(name, "healthy")
            continue
        probe = (container["State"].get("Health") or {}).get("Log") or [{}]
        log = _logged(container["Id"])
        said = (
            logs.last_error(log)
            or logs.last_line(log)
            or logs.last_line(probe[-1].get("Output", ""))
        )
        if state == "starting":
            yield _group.note(name, f"{state}\n{said}" if said else state)
        else:
            remedy = _mending(container["Name"].lstrip("/"), state)
            yield _group.fail(name, f"{state}\n{said}" if said else state, remedy)


def _mending(container: str, state: str) -> str:
    """What brings a container back. Compose itself leaves one that is unhealthy alone."""
    if state == OUT_OF_MEMORY:
        return f"raise its limit in docker-compose.override.yml, then {START}"
    anew = f"docker restart {container}" if state == "unhealthy" else START
    return f"docker logs {container} tells why; {anew}"


def verdict(state: dict[str, Any]) -> str:
    """`healthy`, or what is wrong with a container, from its state."""
    if state["Status"] == "running":
        return str((state.get("Health") or {}).get("Status") or "healthy")
    if state.get("OOMKilled"):
        return OUT_OF_MEMORY
    if state["Status"] == "exited":
        return f"ended with status {state['ExitCode']}" if state["ExitCode"] else "healthy"
    return str(state["Status"])


def _logged(identity: str) -> str:
    try:
        # What services write to standard error comes back the same way.
        return output("sh", "-c", 'docker logs --tail "$1" "$2" 2>&1', "sh", LOG_LINES, identity)
    except OSError:
        return ""


def _ended(site: Site) -> Iterator[Finding]:
    """What the logs of the last run say, if it is not long ago."""
    if site.state() is None:
        yield _group.note("stack", f"is not running; {START} starts it")
    now_s = time.time()
    for path in sorted(Layout(site.root, demo=False).log.glob("*.log")):
        if now_s - path.stat().st_mtime > RECENT_S:
            continue
        if said := logs.last_error(logs.end_of(path)):
            yield _group.note(path.stem, f"last error of the last run:\n{said}")
