from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.doctor import listening
from scripts.doctor.site import Site

ROOT = Path(__file__).resolve().parents[4]
PORTS = ("REDIS_PORT", "INFLUX_PORT", "INFLUX_RPC_PORT", "PORT", "FREQTRADE_PORT", "HEALTH_PORT")


@pytest.fixture
def held() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings with a free port for each service, and no engine that could be running one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    shutil.copy(ROOT / ".env.example", tmp_path)
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    numbers = [str(server.getsockname()[1]) for server in with_ports]
    for server in with_ports:
        server.close()
    return dict(zip(PORTS, numbers, strict=True))


@pytest.mark.parametrize("packages", [True, False])
def test_free_ports_take_one_line(tmp_path: Path, free: dict[str, str], packages: bool) -> None:
    (found,) = listening.check(Site(tmp_path, free, packages))
    assert found.state == "ok"
    assert all(port in found.found for port in free.values())


def test_the_holder_of_a_port_is_named(tmp_path: Path, free: dict[str, str], held: int) -> None:
    (found,) = listening.check(Site(tmp_path, {**free, "PORT": str(held)}))
    assert found.state == "fail"
    assert f"process {os.getpid()}" in found.found
    assert "PORT in .env" in found.remedy


def test_without_packages_a_port_in_use_is_found_too(
    tmp_path: Path, free: dict[str, str], held: int
) -> None:
    site = Site(tmp_path, {**free, "HEALTH_PORT": str(held)}, packages=False)
    found = [f for f in listening.check(site) if f.state == "fail"]
    assert [str(held) in f.found for f in found] == [True]
    assert "HEALTH_PORT" in found[0].remedy


def test_a_port_that_is_none_is_left_to_the_check_of_the_settings(
    tmp_path: Path, free: dict[str, str]
) -> None:
    (found,) = listening.check(Site(tmp_path, {**free, "PORT": "x"}))
    assert found.state == "note"
