"""From another container on the outward network, and from the host: what can be reached at all."""

from __future__ import annotations

import json
import socket

import psutil
import pytest

from scripts.stack.compose import Project, docker
from tests.stack.conftest import BIND_ADDRESS, ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300), pytest.mark.usefixtures("demo")]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})
# By name and, since names of other networks are not known there, by address.
KNOCK = """
import json, socket, sys
found = {}
for name, address, port in json.loads(sys.argv[1]):
    for host in (name, address):
        try:
            socket.create_connection((host, port), 3).close()
            found[f"{name} as {host}"] = port
        except OSError:
            pass
print(json.dumps(found))
"""
HIDDEN = {"redis": 6379, "aggr-influx": 8086, "socket-proxy": 2375}


def addresses(service: str) -> list[str]:
    [container] = [c for c in PROJECT.containers() if c.service == service]
    [document] = json.loads(docker("inspect", container.identity))
    return [network["IPAddress"] for network in document["NetworkSettings"]["Networks"].values()]


def test_a_stranger_on_the_outward_network_reaches_no_database_and_no_socket() -> None:
    targets = [
        (service, address, port)
        for service, port in HIDDEN.items()
        for address in addresses(service)
    ]
    stranger = ("run", "--rm", "--network", "squeezeflow_demo_network", "python:3.13-slim")

    answer = docker(*stranger, "python3", "-c", KNOCK, json.dumps(targets))

    assert json.loads(answer) == {}
    # It would be told of a way: this one is open to all on that network.
    open_ones = [("aggr-server", address, 3000) for address in addresses("aggr-server")]
    assert json.loads(docker(*stranger, "python3", "-c", KNOCK, json.dumps(open_ones)))


@pytest.mark.parametrize("service", ["oi-tracker", "freqtrade", "health-monitor"])
def test_no_service_but_the_monitor_reaches_the_engine(service: str) -> None:
    targets = [("socket-proxy", address, 2375) for address in addresses("socket-proxy")]

    answer = PROJECT.run("exec", "-T", service, "python3", "-c", KNOCK, json.dumps(targets))

    assert json.loads(answer) == {}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/containers/json", 200),
        ("GET", "/containers/{id}/json", 200),
        ("GET", "/containers/{id}/archive?path=/run/secrets", 403),
        ("GET", "/containers/{id}/export", 403),
        ("GET", "/containers/{id}/logs?stdout=1", 403),
        ("GET", "/images/json", 403),
        ("POST", "/containers/{id}/stop", 403),
        ("POST", "/containers/{id}/exec", 403),
        ("POST", "/containers/create", 403),
        ("DELETE", "/containers/{id}", 403),
    ],
)
def test_the_monitor_itself_may_only_look(method: str, path: str, status: int) -> None:
    [redis] = [c for c in PROJECT.containers() if c.service == "redis"]
    ask = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('socket-proxy', 2375, timeout=5)\n"
        "c.request(*sys.argv[1:])\n"
        "print(c.getresponse().status)"
    )
    given = (method, path.format(id=redis.identity))

    answer = PROJECT.run("exec", "-T", "system-monitor", "python", "-c", ask, *given)

    assert int(answer) == status


def test_no_port_of_the_stack_can_be_reached_from_another_machine() -> None:
    documents = json.loads(docker("inspect", *(c.identity for c in PROJECT.containers())))
    published = {
        (binding["HostIp"], int(binding["HostPort"]))
        for document in documents
        for bindings in document["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published
    assert {ip for ip, _ in published} == {BIND_ADDRESS}
    outside = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    assert [(ip, port) for ip in outside for _, port in published if answers(ip, port)] == []
    assert all(answers(ip, port) for ip, port in published)


def answers(ip: str, port: int) -> bool:
    """Whether somebody takes a connection there."""
    try:
        socket.create_connection((ip, port), 3).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG", "DEBUG", "SHUTDOWN", "REPLICAOF"])
def test_redis_does_not_know_what_would_end_it(command: str) -> None:
    read = 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli "$@" 2>&1'
    answer = PROJECT.run("exec", "-T", "redis", "sh", "-c", read, "sh", command, "a", "b")
    assert "unknown command" in answer
