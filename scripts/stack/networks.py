"""Have other networks of the engine addresses of the containers'? Asked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from scripts.stack.compose import docker
from scripts.stack.running import StackError
from services.core.labels import COMPOSE_PROJECT

REMEDY = (
    "remove it with docker network rm if nobody needs it, or set SQUEEZEFLOW_SUBNET_PREFIX in .env "
    "to two other numbers"
)

Subnet = IPv4Network | IPv6Network


def require_free(config: Mapping[str, Any], project: str) -> None:
    """Raises `StackError` with the networks that are in the way of the project's."""
    if found := in_the_way(config, {project}):
        raise StackError(
            f"Networks of the Docker engine have addresses that the stack's are to have: "
            f"{', '.join(found)}. For each: {REMEDY}."
        )


def in_the_way(config: Mapping[str, Any], projects: Collection[str]) -> list[str]:
    """Networks, with their subnet, that are of none of the projects and overlap with one of the
    `docker compose config`. Raises `StackError`."""
    wanted = [subnet for network in config.get("networks", {}).values() for subnet in _of(network)]
    if not wanted:
        return []
    return sorted(
        f"{network['Name']} ({subnet})"
        for network in _all()
        if (network.get("Labels") or {}).get(COMPOSE_PROJECT) not in projects
        for subnet in _given(network)
        if any(subnet.version == own.version and subnet.overlaps(own) for own in wanted)
    )


def _of(network: Mapping[str, Any] | None) -> Iterator[Subnet]:
    ipam = (network or {}).get("ipam") or {}
    for subnet in [one["subnet"] for one in ipam.get("config") or () if "subnet" in one]:
        try:
            yield ip_network(subnet, strict=False)
        except ValueError as error:
            raise StackError(
                f"A network of the containers has no valid subnet: {error}. "
                "SQUEEZEFLOW_SUBNET_PREFIX in .env has to be two numbers, such as 172.20."
            ) from error


def _given(network: Mapping[str, Any]) -> Iterator[Subnet]:
    ipam = network.get("IPAM") or {}
    return (ip_network(one["Subnet"]) for one in ipam.get("Config") or () if one.get("Subnet"))


def _all() -> Iterator[dict[str, Any]]:
    for identity in docker("network", "ls", "--quiet", "--no-trunc").split():
        # It may have gone away between the two calls.
        with suppress(StackError):
            yield from json.loads(docker("network", "inspect", identity))
