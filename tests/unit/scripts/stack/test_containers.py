"""What the host must have in order before containers start, and what they may lack then."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from scripts.stack import containers
from scripts.stack.compose import Container, Project
from scripts.stack.containers import ContainerStack, prepare_host
from scripts.stack.progress import Progress
from scripts.stack.running import StackError


def test_mounted_files_and_folders_become_readable_for_other_users(tmp_path: Path) -> None:
    folder = tmp_path / "docker" / "chronograf" / "resources"
    folder.mkdir(parents=True)
    board, script = folder / "system.dashboard", tmp_path / "docker" / "start.sh"
    for path in (board, script):
        path.write_text("")
        path.chmod(0o600)
    folder.chmod(0o700)
    project = cast(Project, SimpleNamespace(root=tmp_path, demo=False))
    prepare_host(project, {})
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, board, script)}
    assert modes == {folder: 0o755, board: 0o644, script: 0o644}


def test_the_folder_of_the_data_is_closed_to_other_users(tmp_path: Path) -> None:
    project = cast(Project, SimpleNamespace(root=tmp_path, demo=False))
    folders = [tmp_path / "data" / name for name in ("redis", "aggr")]
    volumes = {path.name: {"driver_opts": {"device": str(path)}} for path in folders}

    prepare_host(project, {"volumes": volumes})

    assert all(path.is_dir() for path in folders)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


class Engine:
    """A project whose containers are what the test says; `compose up` succeeds at once."""

    demo = False

    def __init__(self, **states: tuple[str, str, int]) -> None:
        self._states = {name.replace("_", "-"): state for name, state in states.items()}

    def start(self, *_: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(["true"], stderr=subprocess.PIPE, text=True)
        process.wait()
        return process

    def containers(self) -> list[Container]:
        return [
            Container(name, name, name, state, health, status, 1, "")
            for name, (state, health, status) in self._states.items()
        ]

    def logs(self, service: str) -> str:
        return f"the end of {service}'s"


HEALTHY = ("running", "healthy", 0)
UNHEALTHY = ("running", "unhealthy", 0)


def start(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(containers, "START_TIMEOUT_S", 0.0)
    return containers._start(ContainerStack(cast(Project, engine), {}), Progress())


def test_a_live_stack_is_up_while_only_the_exchanges_are_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(redis=HEALTHY, aggr_server=UNHEALTHY, freqtrade=("restarting", "", 2))

    assert start(engine, monkeypatch) == ("aggr-server", "freqtrade")
    assert "the end of freqtrade's" in capsys.readouterr().err


@pytest.mark.parametrize(
    "states",
    [
        {"redis": UNHEALTHY, "freqtrade": UNHEALTHY},
        {"redis": HEALTHY, "freqtrade": ("restarting", "", 78)},
    ],
    ids=["database", "settings"],
)
def test_what_no_exchange_can_mend_keeps_a_stack_from_starting(
    monkeypatch: pytest.MonkeyPatch, states: dict[str, tuple[str, str, int]]
) -> None:
    with pytest.raises(StackError, match="not ready after"):
        start(Engine(**states), monkeypatch)


def test_the_demo_has_its_exchanges_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(aggr_server=UNHEALTHY)
    engine.demo = True

    with pytest.raises(StackError, match="aggr-server is unhealthy"):
        start(engine, monkeypatch)
