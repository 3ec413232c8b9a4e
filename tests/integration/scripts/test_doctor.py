"""The doctor as its users run it: with and without packages, on a network that refuses or hangs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scripts.conftest import OFF_MS
from tests.integration.servers import free_port
from tests.programs import program

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("aggr-server", "services", "scripts", "freqtrade", ".env.example", "docker-compose.yml")
PORTS = ("REDIS_PORT", "INFLUX_PORT", "INFLUX_RPC_PORT", "PORT", "FREQTRADE_PORT", "HEALTH_PORT")


@pytest.fixture
def clone(short_path: Path) -> Path:
    """The project's sources, nothing installed, no engine, ports of its own."""
    root = short_path / "clone"
    root.mkdir()
    for name in SOURCES:
        (root / name).symlink_to(ROOT / name)
    (root / "scripts").unlink()
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("*.pyc"))
    (root / ".env").write_text("".join(f"{name}={free_port()}\n" for name in PORTS))
    program(short_path / "bin" / "docker", "exit 1")
    return root


def examined(
    clone: Path, *options: str, bare: bool = False, **environ: str
) -> tuple[int, dict[str, list[dict[str, str]]], float]:
    """Exit status, findings by name, and the seconds it took by its own clock."""
    # Without the folder of installed packages this is a Python as it comes.
    python = [sys.executable, *(["-S"] if bare else []), "-P", "-m", "scripts.doctor"]
    done = subprocess.run(
        [*python, "--json", *options],
        cwd=clone,
        env={
            "PATH": f"{clone.parent / 'bin'}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/root"),
            "PYTHONPATH": f"{clone}:{clone / 'aggr-server'}",
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stderr == ""
    document = json.loads(done.stdout)
    found: dict[str, list[dict[str, str]]] = {}
    for finding in document["findings"]:
        found.setdefault(finding["name"], []).append(finding)
    return done.returncode, found, float(document["seconds"])


def wrong(found: dict[str, list[dict[str, str]]]) -> set[str]:
    """Names of what fails, or is warned of; not of the machine, which the tests do not choose."""
    return {
        finding["name"]
        for findings in found.values()
        for finding in findings
        if finding["state"] in ("warn", "fail") and finding["group"] not in ("Machine", "Docker")
    }


def test_a_fresh_clone_is_examined_by_a_python_without_any_package(clone: Path) -> None:
    (clone / ".env").write_text((clone / ".env").read_text() + "REDIS_PROT=1\nALERT_DOWN_S=3\n")
    status, found, _ = examined(clone, bare=True)
    assert wrong(found) == {"unknown", "retired"}
    assert "REDIS_PORT" in found["unknown"][0]["remedy"]
    assert found["values"][0]["state"] == "note"
    assert "--install" in found["values"][0]["remedy"]
    assert status >= 1


def test_region_blocks_are_named_through_the_gateway_that_is_set(clone: Path, gateway: str) -> None:
    _, found, _ = examined(
        clone,
        EXCHANGE_GATEWAY=gateway,
        AGGR_EXCHANGES="BINANCE,BYBIT,COINBASE,OKEX,BINANCE_FUTURES",
    )
    for name, said in (("BINANCE", "451"), ("BYBIT", "403"), ("COINBASE", "500")):
        assert said in found[name][0]["found"]
        assert found[name][0]["state"] == "warn"
    assert found["exchanges"][0]["found"] == "2 of 5 answer"


def test_a_block_by_the_exchange_that_trades_ends_with_status_2(clone: Path, gateway: str) -> None:
    status, found, _ = examined(
        clone,
        EXCHANGE_GATEWAY=gateway,
        AGGR_EXCHANGES="BINANCE,OKEX",
        SQUEEZEFLOW_EXECUTION_EXCHANGE="BINANCE",
    )
    assert found["BINANCE"][0]["state"] == "fail"
    assert status == 2


def test_a_clock_that_is_off_fails_with_the_distance(clone: Path, gateway: str) -> None:
    _, found, _ = examined(clone, EXCHANGE_GATEWAY=gateway, AGGR_EXCHANGES="OKEX")
    (clock,) = found["clock"]
    assert clock["state"] == "fail"
    assert abs(int(clock["found"].split()[0]) - OFF_MS) < 1000


def test_a_network_that_swallows_everything_does_not_hold_it_up(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        status, found, seconds = examined(clone, EXCHANGE_GATEWAY=address)
    assert seconds < 20
    assert found["exchanges"][0]["state"] == "fail"
    assert found["clock"][0]["state"] == "note"
    assert status == 2


def test_offline_nothing_of_the_network_is_wrong(clone: Path) -> None:
    _, found, _ = examined(clone, "--offline")
    assert wrong(found) == set()


def test_broken_settings_are_all_told_at_once(clone: Path) -> None:
    (clone / ".env").write_text("REDIS_PORT=seventy\nAGGR_EXCHANGES=MTGOX\nno equals sign\n")
    status, found, _ = examined(clone, "--offline")
    assert "line 3" in found[".env"][0]["found"]
    assert status == 2
    (clone / ".env").write_text("REDIS_PORT=seventy\nAGGR_GRACE_MS=-1\n")
    _, found, _ = examined(clone, "--offline")
    assert {f["found"] for f in found["value"]} == {"REDIS_PORT='seventy'", "AGGR_GRACE_MS='-1'"}


def test_as_a_script_it_runs_with_whatever_python_there_is(clone: Path) -> None:
    done = subprocess.run(
        [str(clone / "scripts/doctor.sh"), "--offline"],
        env={"PATH": f"{clone.parent / 'bin'}:/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith("Machine\n")
    assert "\033" not in done.stdout
