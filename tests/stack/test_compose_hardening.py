"""Every row of the hardening table, over every combination of the Compose files as Compose itself
understands them. Needs the Compose plugin, no engine."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scripts.stack import pins
from tests.stack.conftest import ROOT

pytestmark = pytest.mark.stack

Json = dict[str, Any]

COMBINATIONS = {
    "base": ("docker-compose.yml",),
    "dev": ("docker-compose.yml", "docker-compose.dev.yml"),
    "prod": ("docker-compose.yml", "docker-compose.prod.yml"),
    "demo": ("docker-compose.yml", "docker-compose.demo.yml"),
    "scratch": ("docker-compose.yml", "docker/compose.scratch.yml"),
    "swarm": ("docker-compose.swarm.yml",),
}
COMPOSE = ("docker", "compose", "--env-file", os.devnull, "--profile", "*")
CORES, MEMORY_BYTES = 8, 16 * 2**30
ONE_SHOT = {"volume-init", "influx-init"}
SOCKET = "/var/run/docker.sock"
# It changes owners and sees folders that belong to others; it ends before anything else starts and
# has no network.
CAPABILITIES = {"volume-init": ["CHOWN", "DAC_READ_SEARCH"]}
NETWORK_MODES = {
    "volume-init": ("none",),
    # InfluxDB's backup protocol knows no login and is spoken inside its container only.
    "backup": ("service:aggr-influx",),
}
DATABASES = ("redis", "aggr-influx")
# What may call out: to exchanges, channels of messages and an outside dead-man switch.
OUTWARD = {"aggr-server", "strategy-runner", "freqtrade", "oi-tracker", "system-monitor"}
SECRETS_OF_OTHERS = {"freqtrade_exchange_key", "freqtrade_exchange_secret"}


@cache
def config(name: str) -> Json:
    """The combination, all profiles on, with no settings but the defaults."""
    options = [part for file in COMBINATIONS[name] for part in ("-f", file)]
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "DOCKER_CONFIG") if k in os.environ}
    done = subprocess.run(
        [*COMPOSE, *options, "config", "--format", "json"],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: Json = json.loads(done.stdout)
    return document


def services(name: str) -> dict[str, Json]:
    return dict(config(name)["services"])


def mounts(service: Json) -> list[Json]:
    return list(service.get("volumes", ()))


every_combination = pytest.mark.parametrize("name", COMBINATIONS)


def each(name: str, *, but: Collection[str] = ()) -> list[tuple[str, Json]]:
    """Services with their definitions, without those of `but`."""
    return [(s, definition) for s, definition in services(name).items() if s not in but]


@every_combination
def test_no_container_is_root_but_the_one_that_gives_out_the_volumes(name: str) -> None:
    for service, definition in each(name, but={"volume-init"}):
        image = definition["image"]
        if "squeezeflow/" in image:
            # Ours say it in their Dockerfile, which tests/unit/compose looks at.
            assert not re.match(r"(0|root)\b", definition.get("user", "")), service
        else:
            assert re.fullmatch(r"[1-9]\d*:\d+", definition["user"]), service


@every_combination
def test_root_file_systems_are_read_only(name: str) -> None:
    for service, definition in each(name):
        assert definition["read_only"] is True, service


@every_combination
def test_capabilities_are_dropped_and_given_back_by_name_only(name: str) -> None:
    for service, definition in each(name):
        assert definition["cap_drop"] == ["ALL"], service
        assert definition.get("cap_add", []) == CAPABILITIES.get(service, []), service


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name != "swarm"])
def test_no_process_gains_privileges_and_the_engines_own_profiles_stay_on(name: str) -> None:
    # Swarm knows no such option: docker-compose.swarm.yml says what to set in the engine.
    for service, definition in each(name):
        assert definition["security_opt"] == ["no-new-privileges:true"], service


@every_combination
def test_nothing_is_privileged_or_shares_a_namespace_or_a_device_with_the_host(name: str) -> None:
    for service, definition in each(name):
        assert not definition.get("privileged"), service
        assert definition.get("network_mode") in (None, *NETWORK_MODES.get(service, ())), service
        for key in ("pid", "ipc", "uts", "userns_mode", "cgroup", "devices", "device_cgroup_rules"):
            assert key not in definition, (service, key)


@every_combination
def test_only_the_filter_holds_the_engines_socket_and_nobody_but_the_monitor_reaches_it(
    name: str,
) -> None:
    holders = {
        service
        for service, definition in services(name).items()
        for mount in mounts(definition)
        if "docker.sock" in mount.get("source", "")
    }
    assert holders == {"socket-proxy"}
    users = {s for s, d in services(name).items() if "socket_proxy" in d.get("networks", {})}
    assert users == {"socket-proxy", "system-monitor"}
    assert list(services(name)["socket-proxy"]["networks"]) == ["socket_proxy"]
    assert config(name)["networks"]["socket_proxy"]["internal"] is True
    assert "ports" not in services(name)["socket-proxy"]
    monitor = services(name)["system-monitor"]
    assert monitor["environment"]["DOCKER_HOST"] == "tcp://socket-proxy:2375"


@every_combination
def test_of_the_host_only_figures_are_mounted_and_all_that_is_the_hosts_read_only(
    name: str,
) -> None:
    for service, definition in each(name):
        for mount in mounts(definition):
            if mount["type"] != "bind" or service == "backup":
                continue
            assert mount.get("read_only") is True, (service, mount)
            source = Path(mount["source"])
            allowed = source.is_relative_to(ROOT) or str(source) in (SOCKET, "/proc", "/sys")
            assert allowed, (service, mount)
            if str(source) in ("/proc", "/sys"):
                assert service == "system-monitor"


@every_combination
def test_processes_memory_processors_and_files_are_bounded(name: str) -> None:
    for service, definition in each(name):
        limits = definition["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, service
        assert int(limits["memory"]) >= 2**25, service
        assert 0 < limits["pids"] <= 256, service
        assert definition["ulimits"]["nofile"]["hard"] <= 65536, service


@every_combination
def test_limits_and_reservations_fit_a_machine_of_8_cores_and_16_gb(name: str) -> None:
    for kind in ("limits", "reservations"):
        cpus = memory = 0.0
        for definition in services(name).values():
            deploy = definition["deploy"]
            bound = deploy["resources"].get(kind, {})
            cpus += int(deploy.get("replicas", 1)) * float(bound.get("cpus", 0))
            memory += int(deploy.get("replicas", 1)) * int(bound.get("memory", 0))
        assert cpus <= CORES, (kind, cpus)
        assert memory <= MEMORY_BYTES, (kind, memory / 2**30)


@every_combination
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    for service, definition in each(name, but=ONE_SHOT):
        check = definition["healthcheck"]
        assert len(check["test"]) > 1, service
        assert not check.get("disable"), service
        # Unhealthy within a minute of standing still: 3 checks, each with its time-out.
        seconds = {key: _seconds(check[key]) for key in ("interval", "timeout")}
        assert check["retries"] * (seconds["interval"] + seconds["timeout"]) <= 60, service


def _seconds(text: str) -> float:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)([hms])", text))


@every_combination
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for service, definition in each(name):
        for port in definition.get("ports", ()):
            assert ipaddress.ip_address(port["host_ip"]).is_loopback, service


@every_combination
def test_production_and_swarm_publish_no_database(name: str) -> None:
    if name not in ("prod", "swarm", "scratch"):
        return
    for database in DATABASES:
        assert "ports" not in services(name)[database]
        assert list(services(name)[database]["networks"]) == ["aggr_backend"]


@every_combination
def test_networks_are_by_role(name: str) -> None:
    """Out to the exchanges those alone that have something to do there; databases never."""
    networks = config(name)["networks"]
    assert networks["aggr_backend"]["internal"] is True
    if name == "scratch":
        # Nor does one have a fixed name, which would be that of the running stack.
        assert all(network["internal"] for network in networks.values())
        # Nor fixed addresses, for the same reason.
        assert not any(network["ipam"] for network in networks.values())
        assert not {"squeezeflow_network", "aggr_backend", "squeezeflow_ui"} & {
            network["name"] for network in networks.values()
        }
        return
    if "squeezeflow_ui" in networks:
        masquerade = "com.docker.network.bridge.enable_ip_masquerade"
        assert networks["squeezeflow_ui"]["driver_opts"][masquerade] == "false"
    out = {s for s, d in services(name).items() if "squeezeflow_network" in d.get("networks", {})}
    # The simulated exchanges are those of the demo; Swarm has no network of pages of its own.
    allowed = OUTWARD | {"simulator"} | ({"health-monitor"} if name == "swarm" else set())
    assert out <= allowed
    assert not out & {*DATABASES, "influx-init", "socket-proxy", "aggr-chronograf", "freqtrade-ui"}


@every_combination
def test_logs_are_rotated(name: str) -> None:
    for service, definition in each(name):
        assert definition["logging"] == {
            "driver": "json-file",
            "options": {"max-size": "10m", "max-file": "5"},
        }, service


@every_combination
def test_secrets_are_files_and_never_values(name: str) -> None:
    for service, definition in each(name):
        environment = definition.get("environment", {}) or {}
        mounted = {secret["source"] for secret in definition.get("secrets", ())}
        for key, value in environment.items():
            if not re.search("PASSWORD|SECRET|KEY|TOKEN|NOTIFY_URLS|DEADMAN_URL", key) or not value:
                continue
            assert key.endswith("_FILE"), (service, key)
            assert value.startswith("/run/secrets/"), (service, key)
            assert value.rpartition("/")[2] in mounted, (service, key)
        if mounted & SECRETS_OF_OTHERS:
            assert service == "freqtrade"
    for secret in config(name)["secrets"].values():
        assert Path(secret["file"]).parent == ROOT / "secrets"


@every_combination
def test_images_have_a_version_and_the_digest_that_the_lock_has(name: str) -> None:
    locked = pins.read(ROOT)
    for service, definition in each(name):
        tag = definition["image"].partition("@")[0].rpartition(":")[2]
        assert re.match(r"\d", tag), (service, tag)
        assert "latest" not in tag
        if "squeezeflow/" not in definition["image"]:
            assert definition["image"].partition("@")[0] in locked, service


@every_combination
def test_what_has_ended_comes_back(name: str) -> None:
    for service, definition in each(name, but=ONE_SHOT):
        if name == "swarm":
            assert definition["deploy"]["restart_policy"]["condition"] == "any", service
        else:
            assert definition["restart"] == "unless-stopped", service


def test_swarm_gives_each_service_the_settings_that_compose_gives_it() -> None:
    for service, definition in each("swarm"):
        of_compose = services("base")[service].get("environment") or {}
        of_swarm = definition.get("environment") or {}
        assert of_compose.keys() - of_swarm.keys() == set(), service
        of_compose, of_swarm = [
            d.get("healthcheck", {}).get("test") for d in (services("base")[service], definition)
        ]
        # Replicas are replaced one by one in Swarm only.
        assert of_swarm == (
            [*of_compose, "--ready"] if service == "strategy-runner" else of_compose
        ), service


def test_swarm_updates_what_trades_and_what_keeps_data_one_after_the_other() -> None:
    for service, definition in each("swarm", but=ONE_SHOT):
        update = definition["deploy"]["update_config"]
        order = "start-first" if service == "strategy-runner" else "stop-first"
        assert (update["order"], update["parallelism"]) == (order, 1), service
        assert update["failure_action"] == "rollback", service


def test_swarm_shares_the_markets_among_several_collectors_with_a_volume_each() -> None:
    collector = services("swarm")["aggr-server"]
    assert collector["deploy"]["replicas"] == 2
    assert collector["environment"]["AGGR_SHARD"] == "{{.Task.Slot}}/2"
    assert config("swarm")["volumes"]["aggr_data"]["name"].endswith("{{.Task.Slot}}")
