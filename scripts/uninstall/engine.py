"""What the stack has in the Docker engine: containers, volumes, networks, images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.stack.compose import docker
from scripts.stack.running import StackError
from scripts.uninstall import positions
from services.core.labels import (
    COMPOSE_FOLDER,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    STACK_NAMESPACE,
)

PROJECT = "squeezeflow"
USER_DATA = "/freqtrade/user_data"
TIMEOUT_S = 120.0
_IMAGES = ("reference=squeezeflow/*", "reference=*/squeezeflow/*", "reference=*/*/squeezeflow/*")


@dataclass(frozen=True, slots=True)
class Volume:
    """`size`: as the engine tells it, empty if it does not. `device`: the folder on the host that
    is behind it, empty if the engine keeps the data itself."""

    name: str
    size: str
    device: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that the engine has of the stack. `elsewhere`: other folders it was started from."""

    containers: tuple[dict[str, Any], ...]
    volumes: tuple[Volume, ...]
    networks: tuple[str, ...]
    images: tuple[str, ...]
    elsewhere: frozenset[str]


def holdings(root: Path) -> Holdings:
    """Ask the engine. Raises `StackError`."""
    everything = [c for c in _inspected("ps", "-aq", "--no-trunc") if _ours(_labels(c))]
    here = tuple(c for c in everything if _labels(c).get(COMPOSE_FOLDER) == str(root))
    return Holdings(
        containers=here,
        volumes=tuple(_volumes()),
        networks=tuple(
            network["Name"]
            for network in _inspected("network", "ls", "-q", "--no-trunc")
            if _ours(network.get("Labels") or {})
        ),
        images=tuple(sorted(set(_images()))),
        elsewhere=frozenset(_labels(c).get(COMPOSE_FOLDER, "?") for c in everything) - {str(root)},
    )


def require_no_swarm() -> None:
    """Raises `StackError` if the stack runs in a Swarm, which would start anew what is removed."""
    mark = f"label={STACK_NAMESPACE}={PROJECT}"
    try:
        services = docker("service", "ls", "-q", "--filter", mark)
    except StackError:
        return  # no Swarm
    if services.split():
        raise StackError(f"The stack runs in a Swarm. Remove it first: docker stack rm {PROJECT}")


def _ours(labels: dict[str, str]) -> bool:
    name = labels.get(COMPOSE_PROJECT) or labels.get(STACK_NAMESPACE, "")
    return name == PROJECT or name.startswith(f"{PROJECT}-")


def _labels(container: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = container["Config"].get("Labels") or {}
    return labels


def _inspected(*command: str) -> list[dict[str, Any]]:
    """`docker inspect` of everything that a listing command names."""
    identities = docker(*command, timeout_s=TIMEOUT_S).split()
    if not identities:
        return []
    kind = {"network": ("network", "inspect"), "volume": ("volume", "inspect")}
    inspect = kind.get(command[0], ("inspect",))
    found: list[dict[str, Any]] = json.loads(docker(*inspect, *identities, timeout_s=TIMEOUT_S))
    return found


def _volumes() -> Iterator[Volume]:
    named = [v for v in _inspected("volume", "ls", "-q") if _ours(v.get("Labels") or {})]
    sizes = _sizes() if named else {}
    for volume in named:
        device = (volume.get("Options") or {}).get("device", "")
        yield Volume(volume["Name"], sizes.get(volume["Name"], ""), device)


def _sizes() -> dict[str, str]:
    try:
        listed = docker("system", "df", "-v", "--format", "{{json .Volumes}}", timeout_s=TIMEOUT_S)
        return {volume["Name"]: volume["Size"] for volume in json.loads(listed)}
    except (StackError, ValueError, KeyError, TypeError):
        return {}


def _images() -> Iterator[str]:
    for pattern in _IMAGES:
        listed = docker("image", "ls", "--filter", pattern, "--format", "{{.Repository}}:{{.Tag}}")
        yield from listed.split()


def open_positions(held: Holdings) -> list[str]:
    """Pairs of trades with real money. Raises `StackError` if that cannot be known."""
    for container in held.containers:
        labels = _labels(container)
        real = labels[COMPOSE_PROJECT] == PROJECT and labels.get(COMPOSE_SERVICE) == "freqtrade"
        if real and container["State"]["Running"]:
            return _asked("exec", "-i", container["Id"], "python3", "-", USER_DATA)
    name = f"{PROJECT}_freqtrade_data"
    if name not in {volume.name for volume in held.volumes}:
        return []
    image = next((i for i in held.images if "/freqtrade:" in i), "")
    if not image:
        raise StackError(f"No image of freqtrade is left to look into the volume {name}.")
    mount = f"{name}:{USER_DATA}:ro"
    options = ("--rm", "-i", "--network", "none", "--entrypoint", "python3", "-v", mount)
    return _asked("run", *options, image, "-", USER_DATA)


def _asked(*command: str) -> list[str]:
    try:
        done = subprocess.run(
            ["docker", *command],
            input=Path(positions.__file__).read_text(encoding="utf-8"),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"docker {command[0]} took over {TIMEOUT_S:.0f} s.") from error
    if done.returncode:
        raise StackError(f"freqtrade's database cannot be read: {done.stderr.strip()[-300:]}")
    return done.stdout.split()


def stop(held: Holdings) -> None:
    """Stop all containers in good order. Raises `StackError`."""
    if running := [c["Id"] for c in held.containers if c["State"]["Running"]]:
        docker("stop", "--time", "30", *running, timeout_s=300)


def delete(held: Holdings) -> None:
    """Remove all of it; folders behind volumes stay. Raises `StackError`."""
    if identities := [container["Id"] for container in held.containers]:
        docker("rm", "--force", "--volumes", *identities, timeout_s=TIMEOUT_S)
    for kind, names in (
        ("volume", [volume.name for volume in held.volumes]),
        ("network", list(held.networks)),
        ("image", list(held.images)),
    ):
        if names:
            docker(kind, "rm", *names, timeout_s=TIMEOUT_S)
