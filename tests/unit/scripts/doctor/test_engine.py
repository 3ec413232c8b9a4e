"""Against a `docker` command that answers what an engine would; no engine is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.doctor import engine, machine
from scripts.doctor.findings import Finding
from scripts.doctor.site import Site
from tests.programs import program

INFO = {
    "ServerVersion": "28.2.2",
    "Driver": "overlay2",
    "LoggingDriver": "json-file",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "DockerRootDir": "/",
}
CONFIG = """{"services": {
    "redis": {"deploy": {"resources": {"limits": {"memory": "1000000000"}}}},
    "runner": {"deploy": {"replicas": 2, "resources": {"limits": {"memory": "500000000"}}}},
    "page": {}
}, "networks": {"out": {"ipam": {"config": [{"subnet": "172.20.0.0/18"}]}}}}"""
DAEMON = {"log-opts": {"max-size": "10m"}}


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(engine, "DAEMON_FILE", tmp_path / "daemon.json")
    monkeypatch.setattr(machine, "disk", lambda group, *_: group.ok("disk", ""))

    def look(
        info: dict[str, Any] | str,
        compose: str = "2.39.1",
        daemon: object = DAEMON,
        config: str = CONFIG,
        subnet: str = "172.17.0.0/16",
    ) -> dict[str, Finding]:
        said = json.dumps(info) if isinstance(info, dict) else ""
        (tmp_path / "info").write_text(said)
        (tmp_path / "reason").write_text("" if said else str(info))
        (tmp_path / "daemon.json").write_text(
            daemon if isinstance(daemon, str) else json.dumps(daemon)
        )
        (tmp_path / "config").write_text(config)
        network = [{"Name": "shop_default", "IPAM": {"Config": [{"Subnet": subnet}]}}]
        (tmp_path / "network").write_text(json.dumps(network))
        program(
            tmp_path / "docker",
            f'if [ "$2" = --project-directory ]; then exec cat {tmp_path}/config; fi\n'
            f'if [ "$1 $2" = "network ls" ]; then echo 1; exit; fi\n'
            f'if [ "$1" = network ]; then exec cat {tmp_path}/network; fi\n'
            f'if [ "$1" = compose ]; then {f"echo {compose}" if compose else "exit 1"}; exit; fi\n'
            f"cat {tmp_path}/reason >&2; test -s {tmp_path}/info && cat {tmp_path}/info",
        )
        return {f.name: f for f in engine.check(Site(tmp_path))}

    return look


def test_an_engine_as_the_document_has_it_has_nothing_wrong(examined: Any) -> None:
    assert {f.state for f in examined(INFO).values()} == {"ok"}


def test_without_a_docker_command_nothing_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [f.state for f in engine.check(Site(tmp_path))] == ["note"]


def test_an_engine_that_is_off_is_noted_with_what_starts_it(examined: Any) -> None:
    found = examined("Cannot connect to the Docker daemon")["engine"]
    assert found.state == "note"
    assert "systemctl start docker" in found.remedy


def test_a_user_without_the_right_is_told_how_to_get_it(examined: Any) -> None:
    found = examined("permission denied while trying to connect")["engine"]
    assert found.state == "warn"
    assert "usermod -aG docker" in found.remedy


@pytest.mark.parametrize(("version", "state"), [("20.10.24+dfsg1", "ok"), ("19.03.15", "fail")])
def test_an_engine_too_old_fails(examined: Any, version: str, state: str) -> None:
    assert examined({**INFO, "ServerVersion": version})["engine"].state == state


@pytest.mark.parametrize(
    ("version", "state"), [("2.24.0", "ok"), ("v2.23.3", "fail"), ("", "fail")]
)
def test_compose_too_old_or_missing_fails(examined: Any, version: str, state: str) -> None:
    assert examined(INFO, compose=version)["compose"].state == state


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"Driver": "vfs"}, "storage"),
        ({"MemoryLimit": False}, "limits"),
        ({"PidsLimit": False}, "limits"),
        ({"SecurityOptions": []}, "seccomp"),
    ],
)
def test_what_the_engine_cannot_do_is_told(
    examined: Any, change: dict[str, Any], name: str
) -> None:
    assert examined({**INFO, **change})[name].state == "warn"


def test_logs_without_a_bound_are_noted_with_the_settings(examined: Any) -> None:
    found = examined(INFO, daemon={})["logs"]
    assert found.state == "note"
    assert '"max-size": "10m"' in found.remedy


def test_a_daemon_that_allows_too_few_files_is_told(examined: Any) -> None:
    low = {"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}}}
    assert examined(INFO, daemon={**DAEMON, **low})["open files"].state == "warn"


def test_a_broken_file_of_the_daemon_is_told(examined: Any) -> None:
    assert examined(INFO, daemon="{")["daemon.json"].state == "warn"


@pytest.mark.parametrize(("total", "state"), [(2_000_000_000, "ok"), (1_999_999_999, "note")])
def test_all_limits_together_are_held_against_the_memory_there_is(
    examined: Any, monkeypatch: pytest.MonkeyPatch, total: int, state: str
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: (total, total))
    found = examined(INFO)["files"]
    assert found.state == state
    assert "2.0 GB" in found.found


def test_a_network_that_has_addresses_of_the_stacks_is_named(examined: Any) -> None:
    found = examined(INFO, subnet="172.20.0.0/16")["networks"]
    assert found.state == "fail"
    assert "shop_default (172.20.0.0/16)" in found.found
    assert "SQUEEZEFLOW_SUBNET_PREFIX" in found.remedy


def test_compose_files_that_cannot_be_read_fail(examined: Any) -> None:
    assert examined(INFO, config="no such file")["files"].state == "fail"
