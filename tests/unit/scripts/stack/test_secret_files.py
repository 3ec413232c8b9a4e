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
    for name in secret_files.NAMES:
        secret = (folder / name).read_text().strip()
        assert len(secret) >= 32
        assert not secret[0].isdigit()


def test_what_others_give_out_is_blank_until_filled_in_and_then_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    old = os.umask(0o077)
    try:
        assert not set(secret_files.ensure(folder)) & set(secret_files.FOREIGN)
    finally:
        os.umask(old)
    files = [folder / name for name in secret_files.FOREIGN]
    # Not empty: Swarm refuses a secret of no bytes.
    assert [path.read_text() for path in files] == ["\n"] * len(files)
    # Containers with another user id read them, too.
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    files[0].write_text("of the exchange")
    secret_files.ensure(folder)
    assert files[0].read_text() == "of the exchange"
    assert secret_files.file_settings(folder)["FREQTRADE_EXCHANGE_KEY_FILE"] == str(files[0])


def test_a_new_value_is_kept_until_it_is_put_into_the_same_file(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secret_files.ensure(folder)
    path = folder / "redis_password"
    path.write_text("a longer value than those that are made here, given by the operator\n")
    number = path.stat().st_ino
    staged = secret_files.stage(folder, "redis_password")
    assert secret_files.stage(folder, "redis_password") == staged
    secret_files.put_in_place(folder, "redis_password")
    assert path.read_text() == f"{staged}\n"
    # A container that has the file mounted sees no other.
    assert path.stat().st_ino == number
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert secret_files.stage(folder, "redis_password") != staged
