"""Programs on the host find the services of containers, published or not."""

from __future__ import annotations

from typing import Any

from scripts.stack import reach
from services.core.labels import COMPOSE_SERVICE


def container(
    service: str, inside: int, published: tuple[str, str] | None, address: str = "172.21.0.5"
) -> dict[str, Any]:
    """What `docker inspect` tells, as far as it is looked at."""
    places = [{"HostIp": published[0], "HostPort": published[1]}] if published else None
    return {
        "State": {"Running": True},
        "Config": {"Labels": {COMPOSE_SERVICE: service}},
        "NetworkSettings": {
            "Ports": {f"{inside}/tcp": places},
            "Networks": {"none": {"IPAddress": ""}, "aggr_backend": {"IPAddress": address}},
        },
    }


def test_a_published_port_is_used_where_it_is_published() -> None:
    found = reach.settings(
        [
            container("redis", 6379, ("10.1.2.3", "16379")),
            container("freqtrade", 8080, ("0.0.0.0", "18080")),
            container("aggr-server", 3000, ("::", "3001")),
        ]
    )
    assert found == {
        "REDIS_HOST": "10.1.2.3",
        "REDIS_PORT": "16379",
        "FREQTRADE_API_URL": "http://127.0.0.1:18080",
        "AGGR_SERVER_URL": "http://[::1]:3001",
    }


def test_a_database_without_a_published_port_is_reached_in_its_network() -> None:
    found = reach.settings(
        [
            container("redis", 6379, None, "172.21.0.2"),
            container("aggr-influx", 8086, None, "172.21.0.3"),
        ]
    )
    assert found == {
        "REDIS_HOST": "172.21.0.2",
        "REDIS_PORT": "6379",
        "INFLUX_HOST": "172.21.0.3",
        "INFLUX_PORT": "8086",
    }


def test_what_has_ended_leads_nowhere() -> None:
    ended = container("redis", 6379, ("127.0.0.1", "6379"))
    ended["State"]["Running"] = False
    assert reach.settings([ended]) == {}
    assert reach.settings([]) == {}
