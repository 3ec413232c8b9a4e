"""A filled stack, a backup of it, and an empty stack to restore into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.backup.create import Options, create
from scripts.backup.native import NativeSource, NativeTarget
from tests.integration.operations.stack import Stack, silent, start
from tests.integration.servers import programs


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Tests read it only."""
    made = start(tmp_path_factory.mktemp("stack"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def source(stack: Stack) -> NativeSource:
    return stack.source


@pytest.fixture(scope="session")
def backup(source: NativeSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With line protocol. Tests read it only."""
    folder, _ = create(source, tmp_path_factory.mktemp("backups"), silent, Options(lines=True))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> NativeTarget:
    return NativeTarget(tmp_path / "data", tmp_path / "data" / "freqtrade", programs())
