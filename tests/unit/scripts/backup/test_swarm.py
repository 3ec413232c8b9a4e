"""What is asked of the engine to back up a stack in Swarm, and to restore it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from scripts.backup import __main__ as command
from scripts.backup import swarm as backup
from scripts.backup.__main__ import main
from scripts.backup.errors import BackupError
from scripts.stack import containers, swarm
from scripts.stack.compose import Project
from scripts.stack.running import StackError

PROJECT = Project(Path("/sources"), demo=False, environ={}, stack="sf")


class Engine:
    """Answers to `docker`; remembers what was run, and how far its input had been read then."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.runs: list[list[str]] = []
        self.given: list[bytes] = []

    def docker(self, *arguments: str, timeout_s: float = 60) -> str:
        try:
            return self.answers[" ".join(arguments[:2])]
        except KeyError:
            raise StackError("docker failed") from None

    def call(
        self,
        command: Sequence[str],
        title: str,
        project: Project,
        *,
        stdin: IO[bytes] | None,
        stdout: IO[bytes] | None,
    ) -> bytes:
        self.runs.append(list(command))
        self.given.append(stdin.read() if stdin else b"")
        return b""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(swarm, "docker", engine.docker)
    monkeypatch.setattr(backup, "call", engine.call)
    return engine


def mounts(run: list[str]) -> list[str]:
    return [run[at + 1] for at, word in enumerate(run) if word == "-v"]


def test_all_collectors_are_packed_together(engine: Engine, tmp_path: Path) -> None:
    engine.answers = {
        "volume ls": "sf_aggr-server_data_2\nsf_aggr-server_data_1\nsf_redis_data\n",
        "service inspect": "squeezeflow/aggr-server:1\n",
    }
    backup.SwarmSource(PROJECT, "trades").fetch_collector(tmp_path / "data.tar.gz")

    [run] = engine.runs
    folders = ["/var/lib/aggr-server/1", "/var/lib/aggr-server/2"]
    assert mounts(run) == [
        f"sf_aggr-server_data_{part}:{folder}" for part, folder in enumerate(folders, 1)
    ]
    assert run[-3:] == ["pack", *folders]
    assert "squeezeflow/aggr-server:1" in run


def test_each_collector_gets_its_part_of_the_whole_archive(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: dict[str, Any] = {"services": {"aggr-server": {"image": "squeezeflow/aggr-server:1"}}}
    monkeypatch.setattr(Project, "config", lambda _: config)
    engine.answers = {"volume ls": ""}
    archive = tmp_path / "data.tar.gz"
    archive.write_bytes(b"archive")

    backup.SwarmTarget(PROJECT, lambda: None, collectors=2).put_collector(archive)

    assert [mounts(run) for run in engine.runs] == [
        ["sf_aggr-server_data_1:/var/lib/aggr-server"],
        ["sf_aggr-server_data_2:/var/lib/aggr-server"],
    ]
    assert [run[-3:] for run in engine.runs] == [
        ["unpack", "/var/lib/aggr-server", "1"],
        ["unpack", "/var/lib/aggr-server", "2"],
    ]
    assert engine.given == [b"archive"] * 2


def test_freqtrades_folder_is_read_out_of_the_stacks_volume(engine: Engine, tmp_path: Path) -> None:
    engine.answers = {"service inspect": "squeezeflow/freqtrade:1\n"}
    backup.SwarmSource(PROJECT, "trades").fetch_freqtrade(tmp_path / "data.tar.gz")
    assert mounts(engine.runs[0]) == ["sf_freqtrade_data:/freqtrade/user_data"]


def test_a_database_that_does_not_run_here_is_named(engine: Engine) -> None:
    engine.answers = {"ps -q": ""}
    with pytest.raises(BackupError, match=r"sf_redis.*on the manager"):
        backup.SwarmSource(PROJECT, "trades").redis("PING")


@pytest.mark.parametrize(
    ("services", "containers", "said"),
    [("sf_redis\n", "", "docker stack rm sf"), ("", "0123456789ab\n", "still ending")],
)
def test_nothing_is_restored_into_a_stack_that_runs(
    engine: Engine, services: str, containers: str, said: str
) -> None:
    engine.answers = {"service ls": services, "ps -q": containers}
    with pytest.raises(BackupError, match=said):
        backup.require_down("sf")


def test_without_a_swarm_nothing_runs(engine: Engine) -> None:
    engine.answers = {"ps -q": ""}
    backup.require_down("sf")


def test_a_stack_that_is_not_there_is_told_with_where_to_look(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers = {"service ls": ""}
    assert main(["create", "--stack", "sf"]) == 1
    assert "docker stack ls" in capsys.readouterr().err


def test_a_number_of_collectors_that_is_none_is_told_before_anything_is_touched(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers = {"service ls": "", "ps -q": ""}
    monkeypatch.setenv("AGGR_COLLECTORS", "two")
    monkeypatch.setattr(command, "engine_answers", lambda: True)
    monkeypatch.setattr(containers, "running", lambda _: None)
    assert main(["restore", "/backup", "--stack", "sf"]) == 1
    assert "AGGR_COLLECTORS=two" in capsys.readouterr().err


def test_the_number_of_collectors_is_that_of_the_file() -> None:
    text = (Path(__file__).parents[4] / "docker-compose.swarm.yml").read_text()
    assert f"${{AGGR_COLLECTORS:-{swarm.COLLECTORS}}}" in text
