from __future__ import annotations

from pathlib import Path

import pytest

from scripts.backup import offsite
from tests.programs import program


def test_the_backup_is_the_commands_last_argument(tmp_path: Path) -> None:
    told = tmp_path / "told"
    copy = program(tmp_path / "bin" / "copy", f'echo "$@" > {told}')
    offsite.send(f"{copy} --to 'far away'", tmp_path / "backup")
    assert told.read_text() == f"--to far away {tmp_path / 'backup'}\n"


@pytest.mark.parametrize(
    ("does", "cause"),
    [
        ("echo no room there >&2; exit 3", "ended with status 3: no room there"),
        ("exec sleep 60", "took over 0.1 s"),
    ],
)
def test_a_command_that_does_not_do_it_is_told_with_where_the_backup_is(
    does: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsite, "TIMEOUT_S", 0.1 if "sleep" in does else 60)
    with pytest.raises(offsite.OffsiteError, match=cause) as raised:
        offsite.send(str(program(tmp_path / "copy", does)), tmp_path / "backup")
    assert raised.value.backup == tmp_path / "backup"
    assert f"only in {tmp_path / 'backup'}" in str(raised.value)


@pytest.mark.parametrize(
    ("command", "cause"),
    [("rclone 'copy", "is not a command"), ("/not/there", "No such file or directory: /not/there")],
)
def test_what_is_no_command_is_named(command: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(offsite.OffsiteError, match=cause):
        offsite.send(command, tmp_path)
