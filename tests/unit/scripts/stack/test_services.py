"""Which services a stack of local processes has."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from scripts.stack import environment, render, services
from scripts.stack.debian import Programs
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings

INSTALLED = Programs("/bin/redis-server", "/bin/influxd")


@pytest.mark.parametrize(
    ("profiles", "demo", "backup"),
    [((), False, False), (("backup",), False, True), (("backup",), True, False)],
)
def test_the_profile_starts_a_backup_each_day_but_not_of_a_demo(
    tmp_path: Path, profiles: tuple[str, ...], demo: bool, backup: bool
) -> None:
    layout, settings = Layout(tmp_path, demo), StackSettings(compose_profiles=profiles)

    wanted = environment.with_backup(settings, demo=demo)

    assert wanted is backup
    started = {name for s in services.steps(demo=demo, backup=wanted) for name in s.services}
    known = {program.name for program in services.programs(layout, INSTALLED, backup=wanted)}
    assert started == known
    assert ("backup" in started) is backup
    assert ("backup" in environment.services(layout, settings)) is backup


def test_influxdb_starts_after_its_log_was_looked_at() -> None:
    layout = Layout(Path(__file__).parents[4], demo=False)
    script, wal, *command = services.influxd(layout, INSTALLED)
    assert os.access(script, os.X_OK)
    config = tomllib.loads(render.influxd_conf(layout, StackSettings(), auth=True))
    assert wal == config["data"]["wal-dir"]
    assert command[0] == INSTALLED.influxd
