"""Where a program on this machine reaches the services that run in containers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.core.labels import COMPOSE_SERVICE

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
PLACES = (
    ("redis", 6379, {"REDIS_HOST": "{host}", "REDIS_PORT": "{port}"}),
    ("aggr-influx", 8086, {"INFLUX_HOST": "{host}", "INFLUX_PORT": "{port}"}),
    ("aggr-server", 3000, {"AGGR_SERVER_URL": "http://{host}:{port}"}),
    ("freqtrade", 8080, {"FREQTRADE_API_URL": "http://{host}:{port}"}),
    ("simulator", 18090, {"EXCHANGE_GATEWAY": "http://{host}:{port}"}),
)
"""Service, its port inside, and the settings that lead there."""


def settings(containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Settings that lead to those of `containers`, as `docker inspect` tells of them, that run.

    A port that is not published is reached at the container's own address: this machine has a foot
    in each of the engine's networks, also in those that nobody else can enter.
    """
    found: dict[str, str] = {}
    running = [container for container in containers if container["State"]["Running"]]
    for service, inside, names in PLACES:
        for container in running:
            if container["Config"]["Labels"].get(COMPOSE_SERVICE) != service:
                continue
            for host, port in _ways(container["NetworkSettings"], inside):
                found |= {n: text.format(host=host, port=port) for n, text in names.items()}
                break
    return found


def _ways(network: Mapping[str, Any], inside: int) -> Iterator[tuple[str, str]]:
    for place in network["Ports"].get(f"{inside}/tcp") or ():
        yield EVERYWHERE.get(place["HostIp"], place["HostIp"]), place["HostPort"]
    for joined in network["Networks"].values():
        if joined.get("IPAddress"):
            yield joined["IPAddress"], str(inside)
