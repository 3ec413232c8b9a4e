from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose path leaves room for the supervisor's socket in it."""
    with tempfile.TemporaryDirectory(prefix="sf-") as folder:
        yield Path(folder)
