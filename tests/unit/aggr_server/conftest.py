from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.aggr_server.spooling import Opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a spool may be opened."""
    return tmp_path / "spool"


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens spools, one at a time."""
    opener = Opened()
    yield opener
    opener.close()
