"""The folder of the backups belongs to the container that writes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from scripts.stack import backup_folder
from scripts.stack.running import StackError


def _config(folder: Path) -> dict[str, Any]:
    mounts = [{"target": "/backups", "source": str(folder)}, {"target": "/x", "source": "/x"}]
    return {"services": {"backup": {"volumes": mounts}}}


def test_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *args: given.append(args))
    monkeypatch.setattr(backup_folder, "USER", os.getuid() + 1)

    backup_folder.hand_over(_config(tmp_path / "a" / "b"))

    assert (tmp_path / "a" / "b").is_dir()
    assert given == [(tmp_path / "a" / "b", os.getuid() + 1, os.getuid() + 1)]


def test_who_is_not_root_is_told_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(backup_folder, "USER", os.getuid() + 1)

    with pytest.raises(StackError, match="sudo chown"):
        backup_folder.hand_over(_config(tmp_path))


def test_without_the_service_nothing_is_touched(tmp_path: Path) -> None:
    backup_folder.hand_over({"services": {"redis": {}}})
