"""What the host must have in order before containers start."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from scripts.stack.compose import Project
from scripts.stack.containers import prepare_host


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
