"""The production file in real containers: what it holds where, and a start without any exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.stack.compose import docker
from scripts.stack.evidence import Evidence
from tests.stack.machine import Machine, until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800)]

PRODUCTION = "docker-compose.prod.yml"
OWNERS = {"redis": 999, "influxdb": 1500, "freqtrade": 1000, "aggr": 10001, "chronograf": 999}
RECOVERED_WITHIN_S = 300.0
ONE_SHOT = {"volume-init", "influx-init"}
NOWHERE = "http://192.0.2.1"
"""An address kept for documentation, which nobody has."""


def address(machine: Machine, service: str) -> str:
    """Where this host reaches a service that is not published."""
    identity = machine.containers()[service].identity
    [document] = json.loads(docker("inspect", identity))
    [network] = document["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def evidence(machine: Machine) -> Evidence:
    return machine.evidence(
        REDIS_HOST=address(machine, "redis"), INFLUX_HOST=address(machine, "aggr-influx")
    )


def published(machine: Machine) -> set[str]:
    """Ports inside the containers that this host hands on."""
    documents = json.loads(docker("inspect", *(c.identity for c in machine.project.containers())))
    return {
        port
        for document in documents
        for port, bindings in document["NetworkSettings"]["Ports"].items()
        if bindings
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def trading(tmp_path: Path, data: Path) -> Iterator[Machine]:
    files = (PRODUCTION, "docker-compose.demo.yml")
    machine = Machine(tmp_path / "clone", files, SQUEEZEFLOW_DATA=str(data))
    yield machine
    machine.remove()


def test_production_keeps_its_data_in_its_folder_and_a_restore_replaces_no_more_than_it_holds(
    trading: Machine, data: Path, tmp_path: Path
) -> None:
    trading.script("up.sh", "--docker")
    runners = [c for c in trading.project.containers() if c.service == "strategy-runner"]
    assert [runner.health for runner in runners] == ["healthy"] * 2
    assert not published(trading) & {"6379/tcp", "8086/tcp", "2375/tcp"}
    assert {path.name: path.stat().st_uid for path in data.iterdir()} == OWNERS
    assert data.stat().st_mode & 0o077 == 0
    until(lambda: evidence(trading).audit().compared > 0, RECOVERED_WITHIN_S)

    backup = trading.script("backup_volumes.sh", str(tmp_path / "backups")).strip()
    trading.script("down.sh")
    (data / "chronograf" / "dashboard").write_text("made by hand")
    (data / "aggr" / "spool" / "left").write_text("of another time")
    (data / "freqtrade" / "tradesv3.dryrun.sqlite-wal").write_text("of a crash")
    refused = trading.script("restore_volumes.sh", backup, ends_with=1)
    assert "is not empty" in refused
    assert (data / "aggr" / "spool" / "left").exists()
    trading.script("restore_volumes.sh", backup, "--replace")

    assert (data / "chronograf" / "dashboard").read_text() == "made by hand"
    assert not (data / "aggr" / "spool" / "left").exists()
    assert not (data / "freqtrade" / "tradesv3.dryrun.sqlite-wal").exists()
    trading.script("up.sh", "--docker")
    until(
        lambda: not (audit := evidence(trading).audit()).mismatched and audit.compared > 0,
        RECOVERED_WITHIN_S,
        lambda: evidence(trading).audit().mismatches,
    )


@pytest.fixture
def alone(tmp_path: Path, data: Path) -> Iterator[Machine]:
    """Real exchanges are asked for, and none is within reach."""
    settings = {"SQUEEZEFLOW_DATA": str(data), "EXCHANGE_GATEWAY": NOWHERE}
    machine = Machine(tmp_path / "clone", (PRODUCTION,), **settings)
    yield machine
    machine.remove()


def test_production_is_up_without_any_exchange_and_goes_on_trying(alone: Machine) -> None:
    said = alone.script("up.sh", "--docker", told=True)

    assert "aggr-server is unhealthy. The end of its log:" in said
    assert "not ready, but going on trying: aggr-server" in said
    states = {service: container.verdict for service, container in alone.containers().items()}
    ready = {service for service, state in states.items() if state == "healthy"}
    assert states.keys() - ready <= {"aggr-server", "freqtrade"}
    assert states["aggr-server"] == "unhealthy"
    assert {"strategy-runner", "system-monitor", "health-monitor"} <= ready
