"""What the Compose files promise, read without an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from aggr_server.settings import CollectorSettings
from scripts.stack import secret_files
from services.core import settings as of

ROOT = Path(__file__).resolve().parents[3]
ONE_SHOT = {"volume-init", "influx-init"}
FOREIGN = {"redis", "aggr-influx", "freqtrade-ui", "aggr-chronograf"}
DOCUMENTED = {
    "redis": "squeezeflow-redis",
    "aggr-influx": "aggr-influx",
    "aggr-server": "aggr-server",
    "strategy-runner": None,
    "freqtrade": "squeezeflow-freqtrade",
    "freqtrade-ui": "squeezeflow-freqtrade-ui",
    "oi-tracker": "squeezeflow-oi-tracker",
    "system-monitor": "squeezeflow-monitor",
    "aggr-chronograf": "aggr-chronograf",
    "health-monitor": "squeezeflow-health-monitor",
    "influx-init": "squeezeflow-influx-init",
}
# Fixed by the image, or of no use in a container.
NOT_PASSED = {"heartbeat_dir", "supervisor_socket", "freqtrade_config", "freqtrade_data_dir"}
# Makes time pass faster; nothing that trades may ever be given it.
FOR_TESTS_ONLY = {"simulated_clock"}
# freqtrade's own side needs no InfluxDB and knows its exchange by another setting.
NOT_FREQTRADES = {"exchange_gateway"} | {
    f"influx_{name}" for name in ("host", "port", "database", "username", "password")
}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Knows Compose's own tags."""


def _override(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


for _tag in ("!reset", "!override"):
    _Loader.add_constructor(_tag, _override)


def _read(name: str) -> dict[str, Any]:
    text = (ROOT / name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, _Loader)
    return document


BASE = _read("docker-compose.yml")
DEMO = _read("docker-compose.demo.yml")
PROD = _read("docker-compose.prod.yml")
SWARM = _read("docker-compose.swarm.yml")
SERVICES: dict[str, dict[str, Any]] = BASE["services"]
HARDENED = {
    **SERVICES,
    "simulator": DEMO["services"]["simulator"],
}


@pytest.mark.parametrize(("service", "container"), DOCUMENTED.items())
def test_documented_services_have_their_names(service: str, container: str | None) -> None:
    assert SERVICES[service].get("container_name") == container


@pytest.mark.parametrize("service", HARDENED)
def test_service_gives_up_what_it_does_not_need(service: str) -> None:
    definition = HARDENED[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert not definition.get("privileged")
    inside_influx = ("service:aggr-influx",) if service == "backup" else ()
    assert definition.get("network_mode") in (None, "none", *inside_influx)
    assert "pid" not in definition
    assert "ipc" not in definition


@pytest.mark.parametrize("service", HARDENED)
def test_service_is_bounded(service: str) -> None:
    definition = HARDENED[service]
    assert {"cpus", "memory", "pids"} <= definition["deploy"]["resources"]["limits"].keys()
    assert {"max-size", "max-file"} <= definition["logging"]["options"].keys()


@pytest.mark.parametrize("service", sorted(HARDENED.keys() - ONE_SHOT))
def test_service_comes_back_and_is_watched(service: str) -> None:
    definition = HARDENED[service]
    assert definition["restart"] == "unless-stopped"
    assert definition["healthcheck"]["test"]


@pytest.mark.parametrize("service", sorted(FOREIGN))
def test_images_of_others_run_as_a_user(service: str) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", SERVICES[service]["user"])


@pytest.mark.parametrize(
    "path", [*ROOT.glob("docker/Dockerfile.*"), ROOT / "aggr-server/Dockerfile"]
)
def test_our_images_run_as_a_user_and_hold_no_compiler(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", text, re.M)[-1] in ("10001:10001", "1000:1000")
    assert not re.search(r"\b(gcc|g\+\+|make|build-essential)\b", text)
    assert not re.search(r"^ADD ", text, re.M)


def test_ports_are_published_on_loopback_unless_told_otherwise() -> None:
    published = [port for d in HARDENED.values() for port in d.get("ports", ())]
    assert len(published) == 8
    for port in published:
        assert re.fullmatch(r"\$\{BIND_ADDRESS:-127\.0\.0\.1\}:\$\{[A-Z_]+:-\d+\}:\d+", port)


def test_production_publishes_no_database() -> None:
    for service in ("redis", "aggr-influx"):
        assert PROD["services"][service]["ports"] == []
        assert PROD["services"][service]["networks"] == ["aggr_backend"]
    assert BASE["networks"]["aggr_backend"]["internal"] is True


def test_the_engine_hands_out_neither_files_nor_logs_and_changes_nothing() -> None:
    conf = (ROOT / "docker" / "socket-proxy.cfg").read_text(encoding="utf-8")
    rules = re.findall(r"^    http-request (.*)$", conf, re.M)
    assert rules[0] == "deny unless METH_GET or METH_HEAD"
    assert rules[-1] == "deny"
    paths = [re.search(r"-m reg (\S+)", rule) for rule in rules[1:-1]]
    allowed = [match[1] for match in paths if match]
    assert len(allowed) == len(rules) - 2

    def passes(path: str) -> bool:
        return any(re.search(pattern, path) for pattern in allowed)

    identity = "4f" * 32
    for path in ("/_ping", "/v1.41/containers/json", f"/v1.41/containers/{identity}/stats"):
        assert passes(path)
    for what in (
        "archive",
        "export",
        "logs",
        "attach",
        "top",
        "json/../archive",
        "json%2f..%2flogs",
    ):
        assert not passes(f"/containers/{identity}/{what}")
    for path in ("/images/json", "/secrets", "/volumes", "/info", "/containers/json/x", "/swarm"):
        assert not passes(path)


@pytest.mark.parametrize("document", [BASE, DEMO, PROD, SWARM])
def test_no_secret_is_in_a_file_or_an_environment(document: dict[str, Any]) -> None:
    for definition in document["services"].values():
        for name, value in definition.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", name):
                assert name.endswith("_FILE") or value == ""


@pytest.mark.parametrize(
    ("document", "name", "service"),
    [
        (BASE, "freqtrade_exchange_key", "freqtrade"),
        (BASE, "freqtrade_exchange_secret", "freqtrade"),
        (SWARM, "freqtrade_exchange_key", "freqtrade"),
        (SWARM, "freqtrade_exchange_secret", "freqtrade"),
        (BASE, "notify_urls", "system-monitor"),
        (BASE, "deadman_url", "system-monitor"),
        (BASE, "backup_key", "backup"),
        (SWARM, "notify_urls", "system-monitor"),
        (SWARM, "deadman_url", "system-monitor"),
    ],
)
def test_only_one_service_sees_what_others_gave_out(
    document: dict[str, Any], name: str, service: str
) -> None:
    assert name in secret_files.FOREIGN
    assert document["secrets"][name]["file"] == f"./secrets/{name}"
    seers = {s for s, d in document["services"].items() if name in d.get("secrets", ())}
    assert seers == {service}
    environ = document["services"][service]["environment"]
    assert environ[f"{name.upper()}_FILE"] == f"/run/secrets/{name}"
    others = [d for s, d in document["services"].items() if s != service]
    assert all(f"{name.upper()}_FILE" not in d.get("environment", {}) for d in others)


def test_every_secret_of_compose_is_a_file_the_start_makes() -> None:
    made = {*secret_files.NAMES, *secret_files.FOREIGN}
    assert made == BASE["secrets"].keys()
    # Backups are made of one host's volumes.
    assert made - {"backup_key"} == SWARM["secrets"].keys()


def test_the_operators_rules_of_alerts_reach_the_monitor() -> None:
    monitor = BASE["services"]["system-monitor"]
    target = monitor["environment"]["ALERT_RULES"]
    assert monitor["configs"] == [{"source": "alert_rules", "target": target}]
    default = of.SystemMonitorSettings().alert_rules
    assert BASE["configs"]["alert_rules"] == {"file": f"${{ALERT_RULES:-{default}}}"}
    from scripts.stack.containers import MOUNTED

    assert default in MOUNTED
    assert (ROOT / default).is_file()


def test_the_demo_is_given_no_key_of_an_exchange() -> None:
    environ = DEMO["services"]["freqtrade"]["environment"]
    assert environ["FREQTRADE__DRY_RUN"] == "true"
    for name in ("freqtrade_exchange_key", "freqtrade_exchange_secret"):
        assert environ[f"{name.upper()}_FILE"] == ""


@pytest.mark.parametrize("document", [BASE, DEMO, PROD, SWARM])
def test_images_are_pinned(document: dict[str, Any]) -> None:
    for definition in document["services"].values():
        if image := definition.get("image"):
            assert re.search(r":(\$\{SQUEEZEFLOW_VERSION:-)?\d", image)
            assert "latest" not in image


@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("aggr-server", CollectorSettings),
        ("strategy-runner", of.StrategySettings),
        ("influx-init", of.InfluxSchemaSettings),
        ("freqtrade", of.ExecutorSettings),
        ("oi-tracker", of.OpenInterestSettings),
        ("system-monitor", of.SystemMonitorSettings),
        ("health-monitor", of.HealthMonitorSettings),
        ("backup", of.BackupSettings),
        ("simulator", of.SimulatorSettings),
    ],
)
def test_every_setting_reaches_its_service(service: str, settings: type[msgspec.Struct]) -> None:
    passed = {name.removesuffix("_FILE") for name in HARDENED[service]["environment"]}
    wanted = {field.name for field in msgspec.structs.fields(settings)}
    wanted -= NOT_PASSED | FOR_TESTS_ONLY
    if service == "freqtrade":
        wanted -= NOT_FREQTRADES
    if service == "influx-init":
        wanted = {name for name in wanted if name.startswith("influx_")}
    if service == "simulator":
        wanted -= {"exchange_gateway", "redis_db"}
    if service == "system-monitor":
        wanted -= {"bind_address", "health_port"}
    if service == "strategy-runner":
        # The one it has of its own goes before.
        wanted -= {"log_level"}
    assert {name.upper() for name in wanted} - passed == set()


@pytest.mark.parametrize("document", [BASE, DEMO, PROD, SWARM])
def test_no_container_is_given_what_is_for_tests(document: dict[str, Any]) -> None:
    for definition in document["services"].values():
        names = {name.lower() for name in definition.get("environment", {})}
        assert not names & FOR_TESTS_ONLY


@pytest.mark.parametrize("document", [BASE, SWARM])
def test_the_collector_keeps_its_data_in_a_volume_of_its_own_user(document: dict[str, Any]) -> None:
    collector = document["services"]["aggr-server"]
    folder = collector["environment"]["AGGR_DATA_DIR"]
    assert f"aggr_data:{folder}" in collector["volumes"]
    assert "aggr_data" in document["volumes"]
    # A new volume takes over the owner of the image's folder; one bound to a host's does not.
    dockerfile = (ROOT / "aggr-server" / "Dockerfile").read_text(encoding="utf-8")
    assert f"install -d -o 10001 -g 10001 {folder}" in dockerfile
    giver = BASE["services"]["volume-init"]
    assert "aggr_data:/volumes/aggr" in giver["volumes"]
    assert "10001:10001=/volumes/aggr" in giver["command"]


@pytest.mark.parametrize("document", [BASE, SWARM])
def test_influxdb_starts_after_its_log_was_looked_at(document: dict[str, Any]) -> None:
    influx = document["services"]["aggr-influx"]
    shell, script, wal, program = influx["entrypoint"]
    assert (shell, program) == ("/bin/sh", "influxd")
    mounts = [mount for mount in influx["volumes"] if isinstance(mount, dict)]
    [data] = [mount["target"] for mount in mounts if mount.get("source") == "influxdb_data"]
    assert wal == f"{data}/wal"
    given = {config["target"] for config in influx.get("configs", ())}
    given |= {mount.split(":")[1] for mount in influx["volumes"] if isinstance(mount, str)}
    assert script in given


def test_what_is_lost_without_a_volume_is_said_at_each() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    section = text[text.index("\nvolumes:") : text.index("\nsecrets:")]
    for volume in BASE["volumes"]:
        above = section[: section.index(f"\n  {volume}:")].rpartition(":\n")[2]
        assert "# Lost without it:" in above


def test_every_public_image_has_a_stand_in() -> None:
    script = (ROOT / "scripts" / "standin_images.sh").read_text(encoding="utf-8")
    known = set(re.findall(r'^    "([^|"]+)\|', script, re.M))
    used = {
        definition["image"]
        for document in (BASE, DEMO, PROD, SWARM)
        for definition in document["services"].values()
        if "image" in definition and "squeezeflow/" not in definition["image"]
    }
    for path in (*ROOT.glob("docker/Dockerfile.*"), ROOT / "aggr-server/Dockerfile"):
        used |= set(re.findall(r"^FROM (\S+)", path.read_text(encoding="utf-8"), re.M))
    assert used == known


def test_freqtrades_base_image_has_its_variant_by_build_argument() -> None:
    dockerfile = (ROOT / "docker/Dockerfile.freqtrade").read_text(encoding="utf-8")
    [before] = re.findall(r"^ARG FREQTRADE_VARIANT=(.*)$", dockerfile, re.M)
    assert before == ""
    assert SERVICES["freqtrade"]["build"]["args"] == {"FREQTRADE_VARIANT": "${FREQTRADE_VARIANT:-}"}
    standin = (ROOT / "docker/standin/Dockerfile.freqtrade").read_text(encoding="utf-8")
    assert "freqtrade[$EXTRA]" in standin


def test_frequi_finds_the_api_behind_its_own_address() -> None:
    ui = SERVICES["freqtrade-ui"]
    assert ui["volumes"] == ["./docker/frequi.conf:/etc/nginx/nginx.conf:ro"]
    assert set(ui["networks"]) & set(SERVICES["freqtrade"]["networks"])
    conf = (ROOT / "docker" / "frequi.conf").read_text(encoding="utf-8")
    assert ui["ports"][0].endswith(":80")
    assert "listen 80;" in conf
    assert "set $freqtrade freqtrade:8080;" in conf
    # The root is read-only: whatever nginx writes must lie in a tmpfs.
    written = re.findall(r"^\s*(?:pid|\w+_temp_path) (\S+);", conf, re.M)
    assert len(written) == 6
    assert all(path.startswith("/tmp/") for path in written)
    assert any(entry.startswith("/tmp:") for entry in ui["tmpfs"])


def test_mounted_scripts_are_the_ones_made_readable() -> None:
    from scripts.stack.containers import MOUNTED

    readable = {path for pattern in MOUNTED for path in ROOT.glob(pattern)}
    mounts = {
        (ROOT / mount.split(":")[0]).resolve()
        for definition in SERVICES.values()
        for mount in definition.get("volumes", ())
        if isinstance(mount, str) and mount.startswith("./")
    }
    assert mounts <= readable
