"""How containers are judged, and which files a project is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stack import compose
from scripts.stack.compose import Container, Project
from scripts.stack.containers import needs, published
from scripts.stack.running import StackError

ROOT = Path("/srv/squeezeflow")


def container(
    service: str = "redis", state: str = "running", health: str = "healthy", status: int = 0
) -> Container:
    return Container("id", f"name-{service}", service, state, health, status, 1, str(ROOT))


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (container(), "healthy"),
        (container(health=""), "healthy"),
        (container(health="starting"), "starting"),
        (container(health="unhealthy"), "unhealthy"),
        (container(state="exited", health=""), "healthy"),
        (container(state="exited", health="", status=78), "ended with status 78"),
        (container(state="restarting", health="starting"), "restarting"),
        (container(state="created", health=""), "created"),
    ],
)
def test_verdict(given: Container, verdict: str) -> None:
    assert given.verdict == verdict


def test_one_sick_replica_makes_the_service_sick() -> None:
    replicas = [container("strategy-runner"), container("strategy-runner", health="unhealthy")]

    assert compose.states(replicas) == {"strategy-runner": "unhealthy"}
    assert compose.states(replicas[::-1]) == {"strategy-runner": "unhealthy"}


@pytest.mark.parametrize(
    ("project", "name", "files"),
    [
        (Project(ROOT, False, {}), "squeezeflow", []),
        (
            Project(ROOT, True, {}),
            "squeezeflow-demo",
            ["docker-compose.yml", "docker-compose.demo.yml"],
        ),
        (
            Project(ROOT, False, {}, "scratch"),
            "squeezeflow-scratch-5a37d054",
            ["docker-compose.yml", "docker/compose.scratch.yml"],
        ),
    ],
)
def test_demo_live_and_scratch_never_share_volumes(
    project: Project, name: str, files: list[str]
) -> None:
    command = project.command("ps")

    assert command[command.index("-p") + 1] == name
    assert [command[i + 1] for i, word in enumerate(command) if word == "-f"] == files


def test_ports_are_asked_for_where_compose_publishes_them() -> None:
    config = {
        "services": {
            "redis": {"ports": [{"target": 6379, "published": "6400", "host_ip": "127.0.0.1"}]},
            "strategy-runner": {},
        }
    }

    assert published(config) == {("redis", 6379): "127.0.0.1:6400"}
    [need] = needs(config)
    assert (need.host, need.port, need.setting) == ("127.0.0.1", 6400, "REDIS_PORT")


def test_scratch_copies_of_two_clones_do_not_meet() -> None:
    here, there = (Project(Path(root), False, {}, "scratch").name for root in ("/a", "/b"))

    assert here != there
    assert here.startswith("squeezeflow-scratch-")


@pytest.mark.parametrize("version", ["1.29.2", "2.23.3", "weird"])
def test_too_old_a_compose_is_refused_with_the_remedy(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "docker", lambda *_, **__: f"{version}\n")

    with pytest.raises(StackError, match="docker-compose-plugin"):
        compose.require_compose()


@pytest.mark.parametrize("version", ["2.24.0", "v2.26.1-4", "5.0.1"])
def test_a_new_enough_compose_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "docker", lambda *_, **__: f"{version}\n")

    compose.require_compose()


def test_the_end_of_a_log_is_shown_indented() -> None:
    assert compose.tail("a\nb\nc\n", lines=2) == "    b\n    c"
