from __future__ import annotations

import os
import stat
from pathlib import Path

from scripts.stack import secret_files


def test_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    old = os.umask(0o077)
    try:
        assert set(secret_files.ensure(folder)) == set(secret_files.NAMES)
    finally:
        os.umask(old)
    before = {name: (folder / name).read_text() for name in secret_files.NAMES}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / n).stat().st_mode) for n in before} == {0o644}
    assert len(set(before.values())) == len(before)
    assert secret_files.ensure(folder) == []
    assert {name: (folder / name).read_text() for name in before} == before


def test_a_missing_or_empty_one_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret_files.ensure(folder)
    (folder / "redis_password").write_text("")
    (folder / "influx_password").unlink()
    assert set(secret_files.ensure(folder)) == {"redis_password", "influx_password"}


def test_long_enough_and_no_number(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret_files.ensure(folder)
    for path in folder.iterdir():
        secret = path.read_text().strip()
        assert len(secret) >= 32
        assert not secret[0].isdigit()
