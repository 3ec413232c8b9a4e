"""The Swarm file on a Swarm of one node: everything comes up, and what is killed comes back.

Has a stack of its own name, with volumes of its own; the engine's Swarm mode is ended afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest

from scripts.stack import secret_files
from scripts.stack.compose import docker
from scripts.stack.containers import SOCKET
from scripts.stack.running import StackError
from services.core import names
from tests.stack.conftest import ROOT, run_script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]

STACK = "squeezeflow-test"
LABEL = f"label=com.docker.stack.namespace={STACK}"
UP_WITHIN_S = 420.0
BACK_WITHIN_S = 150.0
ONE_SHOT = {"volume-init", "influx-init"}
WANTED = {"aggr-server": 2, "strategy-runner": 3}


@pytest.fixture(scope="module")
def swarm() -> Iterator[None]:
    # Two stacks at once would only be slow; the images are there after the demo.
    run_script("down.sh")
    secret_files.ensure(ROOT / "secrets")
    assert docker("info", "-f", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        node = docker("node", "ls", "-q").strip()
        docker("node", "update", "--label-add", "role=compute", node)
        deploy()
        yield
    finally:
        docker("stack", "rm", STACK)
        wait_until(lambda: not containers(), 120)
        docker("swarm", "leave", "--force")
        # The engine forgets to remove those that had ended before.
        if left := docker("ps", "-aq", "--filter", LABEL).split():
            docker("rm", "--force", *left)
        volumes = docker("volume", "ls", "-q", "--filter", f"name={STACK}_").split()
        if volumes:
            docker("volume", "rm", *volumes)


def deploy() -> None:
    files = ("docker-compose.swarm.yml", "tests/stack/swarm-demo.yml")
    subprocess.run(
        ["docker", "stack", "deploy", "--resolve-image", "never"]
        + [part for file in files for part in ("-c", file)]
        + [STACK],
        cwd=ROOT,
        env={**os.environ, "DOCKER_GID": str(SOCKET.stat().st_gid)},
        capture_output=True,
        check=True,
    )


def containers() -> list[str]:
    return docker("ps", "-q", "--no-trunc", "--filter", LABEL).split()


def healthy() -> dict[str, int]:
    """Service -> how many of its containers run and are healthy."""
    found: dict[str, int] = {}
    if not (identities := containers()):
        return found
    try:
        documents = json.loads(docker("inspect", *identities))
    except StackError:
        return found  # one of them went away between the two calls
    for document in documents:
        name = document["Config"]["Labels"]["com.docker.swarm.service.name"]
        if document["State"].get("Health", {}).get("Status", "healthy") == "healthy":
            service = name.removeprefix(f"{STACK}_")
            found[service] = found.get(service, 0) + 1
    return found


def services() -> set[str]:
    listed = docker("stack", "services", "--format", "{{.Name}}", STACK).split()
    return {name.removeprefix(f"{STACK}_") for name in listed} - ONE_SHOT


def all_healthy() -> bool:
    found = healthy()
    return all(found.get(service) == WANTED.get(service, 1) for service in services())


def wait_until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline, healthy()
        sleep(2)


def container_of(service: str) -> str:
    label = f"label=com.docker.swarm.service.name={STACK}_{service}"
    return docker("ps", "-q", "--no-trunc", "--filter", label).split()[0]


def redis(*command: str) -> str:
    read = 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) exec redis-cli "$@"'
    return docker("exec", container_of("redis"), "sh", "-c", read, "sh", *command).strip()


@pytest.mark.usefixtures("swarm")
def test_two_collectors_and_three_runners_come_up_and_share_the_work() -> None:
    wait_until(all_healthy, UP_WITHIN_S)

    assert {"system-monitor", "socket-proxy", "health-monitor"} <= services()
    assert redis("exists", names.heartbeat("aggr-server"), names.heartbeat("aggr-server-2")) == "2"
    assert redis("hlen", names.REPLICAS) == "3"
    volumes = docker("volume", "ls", "-q", "--filter", f"name={STACK}_aggr-server_data_").split()
    assert len(volumes) == 2


@pytest.mark.usefixtures("swarm")
def test_nothing_is_published() -> None:
    listed = docker("stack", "services", "--format", "{{.Ports}}", STACK)
    assert listed.strip() == ""


@pytest.mark.usefixtures("swarm")
@pytest.mark.parametrize("service", ["aggr-server", "strategy-runner", "redis", "system-monitor"])
def test_a_killed_task_is_replaced(service: str) -> None:
    wait_until(all_healthy, BACK_WITHIN_S)
    killed = container_of(service)
    docker("kill", killed)
    wait_until(lambda: killed not in containers(), 30)
    wait_until(all_healthy, BACK_WITHIN_S)


@pytest.mark.usefixtures("swarm")
def test_a_service_is_updated_one_task_after_the_other_and_is_whole_again() -> None:
    before = set(containers())
    service = f"{STACK}_strategy-runner"
    docker("service", "update", "--detach", "--force", "--update-delay", "1s", service)
    least = WANTED["strategy-runner"]

    def replaced() -> bool:
        nonlocal least
        least = min(least, healthy().get("strategy-runner", 0))
        state = docker("service", "inspect", "-f", "{{.UpdateStatus.State}}", service)
        return state.strip() == "completed"

    wait_until(replaced, 600)
    assert len(set(containers()) & before) == len(before) - WANTED["strategy-runner"]
    # The new one is healthy before an old one goes.
    assert least == WANTED["strategy-runner"]
