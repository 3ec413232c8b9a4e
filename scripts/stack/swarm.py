"""What a Swarm's manager knows of a stack: services, containers on this machine, volumes."""

from __future__ import annotations

from scripts.stack.compose import docker
from scripts.stack.running import StackError
from services.core.labels import STACK_NAMESPACE, SWARM_SERVICE

COLLECTOR = "aggr-server"
COLLECTORS = 2
"""How many there are unless AGGR_COLLECTORS says otherwise."""


def services(stack: str) -> list[str]:
    """Names of the stack's services, in front of each the stack's; none where no Swarm is."""
    try:
        listed = docker(
            "service", "ls", "--format", "{{.Name}}", "--filter", f"label={STACK_NAMESPACE}={stack}"
        )
    except StackError:
        return []
    return sorted(listed.split())


def ending(stack: str) -> bool:
    """Whether containers of the stack still run on this machine."""
    return bool(docker("ps", "-q", "--filter", f"label={STACK_NAMESPACE}={stack}").split())


def container(stack: str, service: str) -> str:
    """A running container of the service on this machine. Raises `StackError` if there is none."""
    mark = f"label={SWARM_SERVICE}={stack}_{service}"
    found = docker("ps", "-q", "--no-trunc", "--filter", mark).split()
    if not found:
        raise StackError(
            f"No container of {stack}_{service} runs on this machine. Run this on the manager, "
            f"once the service is up: docker stack ps {stack}"
        )
    return found[0]


def image(stack: str, service: str) -> str:
    """The image that the service runs. Raises `StackError`."""
    field = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
    return docker("service", "inspect", "-f", field, f"{stack}_{service}").strip()


def volume(stack: str, name: str) -> str:
    """Name that the engine knows a volume of the stack's by."""
    return f"{stack}_{name}"


def collector_volumes(stack: str, least: int = 0) -> list[str]:
    """The collectors' volumes, in the order of their parts: those that are there, and those of the
    first `least`."""
    prefix = volume(stack, f"{COLLECTOR}_data_")
    there = docker("volume", "ls", "-q", "--filter", f"name={prefix}").split()
    parts = {int(end) for name in there if (end := name.removeprefix(prefix)).isdecimal()}
    return [f"{prefix}{part}" for part in range(1, max(parts | {least}) + 1)]
