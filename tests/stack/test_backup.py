"""A backup of local processes restores into containers, and theirs holds the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.backup.container import ContainerSource, ContainerTarget
from scripts.backup.create import Options, create
from scripts.backup.manifest import Manifest
from scripts.backup.restore import Options as RestoreOptions
from scripts.backup.restore import restore
from scripts.stack import containers, secret_files
from scripts.stack.compose import Project
from tests.integration.operations import stack as native
from tests.stack.conftest import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("backup")
    running = native.start(folder / "stack")
    try:
        return create(running.source, folder / "made", native.silent, Options(lines=True))
    finally:
        running.stop()


@pytest.fixture
def project() -> Iterator[Project]:
    """Volumes and containers of their own, which meet nothing else on this host."""
    secret_files.ensure(ROOT / "secrets")
    scratch = containers.live(ROOT, "test").project
    yield scratch
    scratch.run("down", "--volumes", "--remove-orphans")


@pytest.mark.parametrize("lines", [False, True], ids=["portable", "lines"])
def test_b1_containers_hold_after_a_restore_what_the_backup_holds(
    backup: tuple[Path, Manifest], project: Project, tmp_path: Path, lines: bool
) -> None:
    folder, contents = backup
    target = ContainerTarget(project)

    restore(folder, target, native.silent, RestoreOptions(replace=True, lines=lines))

    target.open()
    try:
        source = ContainerSource(project, native.DATABASE)
        _, again = create(source, tmp_path, native.silent, Options(lines=lines))
    finally:
        target.close()
    assert again.counts == contents.counts
    assert again.days == contents.days
    assert again.redis_keys == contents.redis_keys == 500
    assert again.files.keys() >= {"freqtrade/user_data.tar.gz", "collector/data.tar.gz"}
