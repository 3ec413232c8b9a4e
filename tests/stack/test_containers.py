"""The stack in real containers: it trades, comes back, keeps to itself, and its backup restores."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from scripts.stack.compose import Container, Project, docker
from tests.stack.conftest import BIND_ADDRESS, ROOT, Script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

PROJECT = Project(ROOT, True, {"BIND_ADDRESS": BIND_ADDRESS})
BACK_WITHIN_S = 90.0


def states() -> dict[str, str]:
    return {container.name: container.verdict for container in PROJECT.containers()}


def all_healthy() -> bool:
    return set(states().values()) == {"healthy"}


def container_of(service: str) -> Container:
    [container] = [c for c in PROJECT.containers() if c.service == service]
    return container


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + BACK_WITHIN_S
    while not condition():
        assert monotonic() < deadline, states()
        sleep(1)


def inspected() -> list[dict[str, Any]]:
    identities = [container.identity for container in PROJECT.containers()]
    documents: list[dict[str, Any]] = json.loads(docker("inspect", *identities))
    return documents


@pytest.mark.usefixtures("demo")
def test_every_service_is_healthy_and_the_market_is_traded(script: Script, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    done = script("up.sh", "--demo", "--docker", "--check", "--json", str(report))

    assert done.returncode == 0, done.stderr
    document = json.loads(report.read_text())
    assert document["ok"] is True
    assert document["bars_mismatched"] == 0
    assert document["bars_compared"] > 0
    assert set(states().values()) == {"healthy"}


@pytest.mark.usefixtures("demo")
def test_no_process_is_root_and_no_root_file_system_can_be_written() -> None:
    for document in inspected():
        name = document["Name"]
        if "volume-init" in name:
            continue
        assert not re.match(r"^(0|root)?(:|$)", document["Config"]["User"]), name
        assert document["HostConfig"]["ReadonlyRootfs"], name
        assert document["HostConfig"]["CapDrop"] == ["ALL"], name
        assert document["HostConfig"]["Memory"] > 0, name
        assert document["HostConfig"]["PidsLimit"] > 0, name


@pytest.mark.usefixtures("demo")
def test_no_secret_shows_in_inspect_or_logs() -> None:
    files = {path.name: path.read_text().strip() for path in (ROOT / "secrets").iterdir()}
    # Those that only the operator can fill in are blank.
    secrets = {name: secret for name, secret in files.items() if secret}
    assert secrets.keys() >= {"redis_password", "influx_password", "freqtrade_api_password"}
    text = json.dumps(inspected()) + PROJECT.run("logs", "--no-color")
    assert [name for name, secret in secrets.items() if secret in text] == []


@pytest.mark.usefixtures("demo")
def test_databases_want_a_login() -> None:
    with socket.create_connection((BIND_ADDRESS, 6379), 5) as connection:
        connection.sendall(b"KEYS *\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")
    done = subprocess.run(
        ["curl", "-s", f"http://{BIND_ADDRESS}:8086/query?q=SHOW+DATABASES"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "unable to parse authentication credentials" in done.stdout


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    "service", ["redis", "aggr-influx", "aggr-server", "strategy-runner", "freqtrade", "simulator"]
)
def test_a_killed_service_comes_back_by_itself(service: str) -> None:
    before = container_of(service)

    subprocess.run(["kill", "-9", str(before.pid)], check=True)

    wait_until(lambda: container_of(service).pid not in (0, before.pid))
    wait_until(all_healthy)
    assert container_of(service).identity == before.identity


@pytest.mark.usefixtures("demo")
def test_a_strategy_that_hangs_is_unhealthy() -> None:
    container = container_of("strategy-runner")
    # The first process only reaps the others; the strategy is its child.
    [strategy] = psutil.Process(container.pid).children()
    strategy.suspend()
    try:
        wait_until(lambda: container_of("strategy-runner").verdict == "unhealthy")
    finally:
        strategy.resume()
    wait_until(all_healthy)


@pytest.mark.usefixtures("demo")
def test_a_backup_of_the_running_demo_restores_to_the_same_counts(
    script: Script, tmp_path: Path
) -> None:
    made = script("backup_volumes.sh", str(tmp_path))
    assert made.returncode == 0, made.stderr
    folder = made.stdout.strip()

    try:
        restored = script("restore_volumes.sh", folder, "--into", "scratch", "--replace")
        assert restored.returncode == 0, restored.stderr
        assert "complete: " in restored.stderr
        [number] = re.findall(r"([\d,]+) values,", made.stderr)
        assert f"complete: {number} values" in restored.stderr
    finally:
        Project(ROOT, False, {}, "scratch").run("down", "--volumes", "--remove-orphans")
