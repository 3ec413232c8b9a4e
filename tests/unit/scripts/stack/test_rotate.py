"""Secrets are replaced in an order that a crash at any point leaves usable."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from scripts.stack import rotate, secret_files
from scripts.stack.progress import Progress
from scripts.stack.running import StackError

ROOT = Path(__file__).resolve().parents[4]


class FakeStack:
    """Remembers what it was asked for; `fails` at giving InfluxDB its password."""

    def __init__(self, folder: Path, *, fails: bool = False) -> None:
        self.influx_password = value(folder, "influx_password")
        self.restarted: list[list[str]] = []
        self._folder, self._fails = folder, fails
        self.file_when_told = ""

    def set_influx_password(self, new: str) -> None:
        self.file_when_told = value(self._folder, "influx_password")
        self.influx_password = new
        if self._fails:
            raise StackError("interrupted")

    def restart(self, services: Iterable[str], progress: Progress) -> tuple[str, ...]:
        self.restarted.append(list(services))
        return tuple(self.restarted[-1])


def value(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secret_files.ensure(tmp_path / "secrets")
    return tmp_path / "secrets"


def test_redis_is_restarted_before_those_that_log_in_there(folder: Path) -> None:
    stack, old = FakeStack(folder), value(folder, "redis_password")

    rotate.rotate(folder, ["redis_password"], stack, Progress())

    assert value(folder, "redis_password") != old
    assert stack.restarted[0] == ["redis"]
    assert {"freqtrade", "strategy-runner", "aggr-server"} <= set(stack.restarted[1])


def test_influxdb_learns_its_password_before_the_file_changes(folder: Path) -> None:
    old = value(folder, "influx_password")
    stack = FakeStack(folder)

    rotate.rotate(folder, ["influx_password"], stack, Progress())

    assert stack.file_when_told == old
    assert value(folder, "influx_password") == stack.influx_password != old
    assert not any("aggr-influx" in group for group in stack.restarted)


def test_an_interrupted_rotation_is_completed_by_the_next_with_the_same_value(folder: Path) -> None:
    broken = FakeStack(folder, fails=True)
    with pytest.raises(StackError):
        rotate.rotate(folder, ["influx_password"], broken, Progress())
    stack = FakeStack(folder)

    rotate.rotate(folder, ["influx_password"], stack, Progress())

    assert stack.influx_password == broken.influx_password == value(folder, "influx_password")
    assert not list(folder.glob(".*"))


def test_all_of_them_restart_each_service_once(folder: Path) -> None:
    stack = FakeStack(folder)

    users = rotate.rotate(folder, list(rotate.USERS), stack, Progress())

    restarted = [service for group in stack.restarted for service in group]
    assert sorted(restarted) == sorted(set(restarted)) == sorted(users)


def test_without_a_stack_only_influxdb_has_to_run(folder: Path) -> None:
    old = value(folder, "page_password")

    assert rotate.rotate(folder, ["page_password"], None, Progress()) == ()
    assert value(folder, "page_password") != old
    with pytest.raises(StackError, match="Start the stack"):
        rotate.rotate(folder, ["influx_password"], None, Progress())


def test_a_secret_that_is_set_elsewhere_is_not_rotated() -> None:
    with pytest.raises(StackError, match="REDIS_PASSWORD is set"):
        rotate.refuse_settings(["redis_password"], {"REDIS_PASSWORD": "x"})
    rotate.refuse_settings(["redis_password"], {"PAGE_PASSWORD": "x"})


def test_every_service_that_mounts_a_secret_is_restarted_for_it() -> None:
    """But for those that run once."""
    documents = [
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for name in ("docker-compose.yml", "docker-compose.demo.yml")
    ]
    for name in secret_files.NAMES:
        users = {
            service
            for document in documents
            for service, definition in document["services"].items()
            if name in definition.get("secrets", ()) and definition.get("restart") != "on-failure"
        }
        # InfluxDB has its password for the health check alone, which reads it each time.
        users -= {"aggr-influx"}
        assert users <= set(rotate.USERS[name]), name
