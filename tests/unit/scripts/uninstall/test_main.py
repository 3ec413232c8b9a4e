"""Against a `docker` command that answers what an engine would, and notes what it is told to do."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scripts.uninstall import __main__ as uninstall
from scripts.uninstall import positions
from tests.programs import program

FAKE = """\
cd {folder}
case "$1 $2" in
"info "*) ;;
"inspect "*) exec cat containers ;;
"network inspect" | "volume inspect") exec cat "$1s" ;;
"ps "*) exec cat containers.ids ;;
"network ls" | "volume ls") exec cat "$1s.ids" ;;
"system df") exec cat sizes ;;
"image ls") exec cat images ;;
"service ls") exec cat services ;;
"exec "* | "run "*)
    cat > /dev/null
    echo "$1" >> asked
    cat pairs
    read -r status < status
    exit "$status"
    ;;
*)
    echo "$@" >> done
    if [ "$1" = stop ]; then cat opened >> pairs; fi
    ;;
esac
"""


class Machine:
    """A clone at `root`, and an engine that holds `state`."""

    def __init__(self, folder: Path) -> None:
        self.root, self._bin = folder / "clone", folder / "bin"
        for path in ("secrets", ".local/live/freqtrade", ".local/log", "backups/squeezeflow-1"):
            (self.root / path).mkdir(parents=True)
        (self.root / "backups/notes.txt").write_text("mine")
        (self.root / ".env").write_text("PORT=3000\n")
        (self.root / "secrets/redis_password").write_text("x")
        program(self._bin / "docker", FAKE.format(folder=self._bin))
        self.hold()

    def hold(self, **changes: Any) -> None:
        """What the engine has."""
        mine = {"com.docker.compose.project": "squeezeflow"}
        labels = {
            **mine,
            "com.docker.compose.project.working_dir": str(self.root),
            "com.docker.compose.service": "freqtrade",
        }
        running = {"Status": "running", "Running": True}
        foreign = {"com.docker.compose.project": "blog"}
        state: dict[str, Any] = {
            "containers": [
                {"Id": "c1", "Name": "/ft", "State": running, "Config": {"Labels": labels}},
                {"Id": "c9", "Name": "/web", "State": running, "Config": {"Labels": foreign}},
            ],
            "volumes": [
                {"Name": "squeezeflow_freqtrade_data", "Labels": mine, "Options": None},
                {"Name": "blog_data", "Labels": foreign, "Options": None},
            ],
            "networks": [{"Name": "aggr_backend", "Labels": mine}, {"Name": "bridge"}],
            "images": ["squeezeflow/freqtrade:0.1.0"],
            **changes,
        }
        state["sizes"] = [{"Name": v["Name"], "Size": "12MB"} for v in state["volumes"]]
        for kind in ("containers", "networks", "volumes", "sizes"):
            (self._bin / kind).write_text(json.dumps(state[kind]))
            (self._bin / f"{kind}.ids").write_text("x\n" * len(state[kind]))
        for kind in ("images", "services", "pairs", "opened"):
            (self._bin / kind).write_text("".join(f"{line}\n" for line in state.get(kind, ())))
        (self._bin / "status").write_text(f"{state.get('status', 0)}\n")

    def done(self) -> list[str]:
        """What the engine was told to do."""
        return self._noted("done")

    def asked(self) -> list[str]:
        """How freqtrade's database was looked into: in its container, or in one of its own."""
        return self._noted("asked")

    def _noted(self, name: str) -> list[str]:
        path = self._bin / name
        return path.read_text().splitlines() if path.exists() else []

    def trade(self) -> None:
        """Real money is in a trade of the local freqtrade."""
        path = self.root / ".local/live/freqtrade" / positions.DATABASE
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, pair, is_open)")
            database.execute("INSERT INTO trades (pair, is_open) VALUES ('BTC/USDT:USDT', 1)")
            database.commit()

    def untouched(self) -> bool:
        """Whether all is still there."""
        return not self.done() and (self.root / "secrets").exists()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(uninstall, "ROOT", made.root)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return made


def test_without_yes_all_is_listed_and_nothing_deleted(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert uninstall.main([]) == 0
    told = capsys.readouterr().out
    for part in ("ft  running", "squeezeflow_freqtrade_data  12MB", "aggr_backend",
                 "squeezeflow/freqtrade:0.1.0", "/secrets", "/.local/live", "Nothing was deleted",
                 "This would stay: .env"):  # fmt: skip
        assert part in told
    for foreign in ("web", "blog_data", "bridge", "squeezeflow-1"):
        assert foreign not in told
    assert machine.untouched()


def test_with_yes_all_of_it_goes_and_nothing_else(machine: Machine) -> None:
    assert uninstall.main(["--yes"]) == 0
    assert machine.done() == [
        "stop --time 30 c1",
        "rm --force --volumes c1",
        "volume rm squeezeflow_freqtrade_data",
        "network rm aggr_backend",
        "image rm squeezeflow/freqtrade:0.1.0",
    ]
    left = {path.relative_to(machine.root).as_posix() for path in machine.root.rglob("*")}
    assert left == {".env", "backups", "backups/notes.txt", "backups/squeezeflow-1"}


def test_backups_go_only_when_named(machine: Machine) -> None:
    assert uninstall.main(["--yes", "--backups"]) == 0
    assert [path.name for path in (machine.root / "backups").iterdir()] == ["notes.txt"]


def test_open_trades_of_local_processes_hold_it_back(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.trade()
    assert uninstall.main(["--yes"]) == 1
    assert "BTC/USDT:USDT" in capsys.readouterr().err
    assert machine.untouched()


@pytest.mark.parametrize("running", [True, False])
def test_open_trades_of_a_container_hold_it_back_running_or_not(
    machine: Machine, capsys: pytest.CaptureFixture[str], running: bool
) -> None:
    machine.hold(pairs=["ETH/USDT:USDT"], **({} if running else {"containers": []}))
    assert uninstall.main(["--yes"]) == 1
    assert "ETH/USDT:USDT" in capsys.readouterr().err
    assert machine.asked() == ["exec" if running else "run"]
    assert machine.untouched()


def test_a_trade_opened_while_it_stops_holds_the_data_back(machine: Machine) -> None:
    machine.hold(opened=["ETH/USDT:USDT"])
    assert uninstall.main(["--yes"]) == 1
    assert machine.done() == ["stop --time 30 c1"]
    assert (machine.root / "secrets").exists()


@pytest.mark.parametrize("changes", [{"status": 1}, {"containers": [], "images": []}])
def test_not_knowing_holds_it_back(
    machine: Machine, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    machine.hold(**changes)
    assert uninstall.main(["--yes"]) == 1
    assert "cannot be known" in capsys.readouterr().err
    assert machine.untouched()


def test_force_deletes_all_the_same(machine: Machine) -> None:
    machine.trade()
    assert uninstall.main(["--yes", "--force"]) == 0
    assert not (machine.root / ".local").exists()


def test_the_volumes_of_another_clone_are_left_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {
        "com.docker.compose.project": "squeezeflow",
        "com.docker.compose.project.working_dir": "/srv/other",
    }
    machine.hold(containers=[{"Id": "c", "State": {}, "Config": {"Labels": labels}}])
    assert uninstall.main(["--yes"]) == 1
    assert "/srv/other" in capsys.readouterr().err
    assert machine.untouched()


def test_a_swarm_is_not_pulled_apart(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.hold(services=["s1"])
    assert uninstall.main(["--yes"]) == 1
    assert "docker stack rm squeezeflow" in capsys.readouterr().err
    assert machine.untouched()


def test_of_a_link_only_the_link_goes(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (machine.root / ".local/venv").symlink_to(tmp_path / "shared")
    assert uninstall.main(["--yes"]) == 0
    assert (tmp_path / "shared").is_dir()


def test_folders_behind_volumes_go_too(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "opt/influxdb").mkdir(parents=True)
    volume = {
        "Name": "squeezeflow_influxdb_data",
        "Labels": {"com.docker.compose.project": "squeezeflow"},
        "Options": {"device": str(tmp_path / "opt/influxdb")},
    }
    machine.hold(volumes=[volume])
    assert uninstall.main(["--yes"]) == 0
    assert list((tmp_path / "opt").iterdir()) == []


def test_a_machine_without_the_stack_says_so(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.hold(containers=[], volumes=[], networks=[], images=[])
    assert uninstall.main(["--yes"]) == 0
    capsys.readouterr()
    assert uninstall.main([]) == 0
    assert "Nothing of the stack is on this machine" in capsys.readouterr().out


def test_an_engine_that_does_not_answer_is_not_passed_over_in_silence(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    assert uninstall.main([]) == 0
    assert "what Docker may hold of it" in capsys.readouterr().out
