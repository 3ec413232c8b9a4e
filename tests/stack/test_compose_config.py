"""Compose itself understands every combination of the files, and means by them what we mean."""

from __future__ import annotations

import ipaddress
import itertools
import json
import subprocess
from typing import Any

import pytest

from tests.stack.conftest import ROOT

pytestmark = pytest.mark.stack

COMBINATIONS = [
    (),
    ("dev",),
    ("prod",),
    ("demo",),
]


def config(*files: str) -> dict[str, Any]:
    options = [part for file in files for part in ("-f", file)]
    done = subprocess.run(
        ["docker", "compose", *options, "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def files(combination: tuple[str, ...]) -> list[str]:
    return ["docker-compose.yml", *(f"docker-compose.{name}.yml" for name in combination)]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_combination_is_valid_publishes_on_loopback_and_fits_the_host(
    combination: tuple[str, ...],
) -> None:
    services = config(*files(combination))["services"]
    cpus = memory = 0.0
    for service in services.values():
        for port in service.get("ports", ()):
            assert ipaddress.ip_address(port["host_ip"]).is_loopback
        deploy = service["deploy"]
        replicas = deploy.get("replicas", 1)
        cpus += replicas * float(deploy["resources"]["limits"]["cpus"])
        memory += replicas * int(deploy["resources"]["limits"]["memory"])
    assert cpus <= 8
    assert memory <= 16 * 2**30


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_no_network_can_be_given_the_addresses_of_another(combination: tuple[str, ...]) -> None:
    networks = config(*files(combination))["networks"].values()
    subnets = [
        ipaddress.IPv4Network(one["subnet"]) for each in networks for one in each["ipam"]["config"]
    ]
    assert len(subnets) == len(networks) > 1
    assert not any(one.overlaps(other) for one, other in itertools.combinations(subnets, 2))
    assert all(each.subnet_of(ipaddress.IPv4Network("172.20.0.0/16")) for each in subnets)


def test_development_reads_the_sources_and_takes_its_time() -> None:
    runner = config(*files(("dev",)))["services"]["strategy-runner"]
    assert runner["environment"]["SQUEEZEFLOW_LOG_LEVEL"] == "DEBUG"
    assert runner["environment"]["SQUEEZEFLOW_RUN_INTERVAL"] == "30"
    assert {"source": str(ROOT), "target": "/app", "type": "bind", "read_only": True}.items() <= {
        key: value for key, value in runner["volumes"][0].items() if key != "bind"
    }.items()


def test_production_has_two_runners_and_its_data_under_one_folder() -> None:
    document = config(*files(("prod",)))
    assert document["services"]["strategy-runner"]["deploy"]["replicas"] == 2
    assert {v["driver_opts"]["device"] for v in document["volumes"].values()} == {
        f"/opt/squeezeflow/{name}"
        for name in ("influxdb", "redis", "freqtrade", "aggr", "chronograf")
    }
    for service in ("redis", "aggr-influx"):
        assert "ports" not in document["services"][service]


def test_the_demo_reaches_no_exchange() -> None:
    services = config(*files(("demo",)))["services"]
    gateway = "http://simulator:18090"
    for service in ("aggr-server", "strategy-runner", "oi-tracker"):
        assert services[service]["environment"]["EXCHANGE_GATEWAY"] == gateway
    environment = services["freqtrade"]["environment"]
    assert environment["FREQTRADE__DRY_RUN"] == "true"
    assert environment["FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic"].startswith(
        gateway
    )


def test_swarm_file_is_complete_by_itself() -> None:
    document = config("docker-compose.swarm.yml")
    runner = document["services"]["strategy-runner"]["deploy"]
    assert runner["replicas"] == 2
    assert runner["placement"]["constraints"] == ["node.labels.role == compute"]
    assert runner["update_config"]["delay"] == "30s"
    assert document["networks"]["squeezeflow_network"]["driver"] == "overlay"
    assert not [name for name, service in document["services"].items() if service.get("ports")]
