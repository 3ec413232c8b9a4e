from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.doctor.site import Site, examine, output
from scripts.stack import secret_files


def test_the_environment_goes_before_env_and_both_before_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_files.ensure(tmp_path / "secrets")
    (tmp_path / ".env").write_text("PORT=3001\nHEALTH_PORT=3002\nREDIS_PASSWORD_FILE=/mine\n")
    monkeypatch.setenv("PORT", "4001")
    monkeypatch.setenv("HEALTH_PORT", "")
    site = examine(tmp_path)
    assert (site.setting("PORT"), site.setting("HEALTH_PORT")) == ("4001", "3002")
    assert site.setting("REDIS_PASSWORD_FILE") == "/mine"
    assert site.setting("INFLUX_PASSWORD_FILE") == str(tmp_path / "secrets/influx_password")
    assert site.setting("NOT_SET", "default") == "default"


def test_secrets_that_may_not_be_looked_at_are_as_if_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refused)
    assert "REDIS_PASSWORD_FILE" not in Site(tmp_path).environ


def test_an_env_that_cannot_be_read_leaves_the_rest_to_be_examined(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("no equals sign\n")
    assert examine(tmp_path).written == {}


def test_the_state_of_a_stack_is_known_only_if_it_is_whole(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.state() is None
    (tmp_path / ".local/run").mkdir(parents=True)
    (tmp_path / ".local/run/stack.json").write_text('{"demo": tr')
    assert site.state() is None
    assert site.data.name == "live"
    (tmp_path / ".local/run/stack.json").write_text('{"demo": true}')
    assert site.data.name == "demo"


def test_a_program_that_fails_hangs_or_is_missing_raises_with_the_reason() -> None:
    assert output(sys.executable, "-IS", "-c", "print(1)", timeout_s=60) == "1\n"
    with pytest.raises(OSError, match="the reason"):
        output(sys.executable, "-ISc", "import sys; sys.exit('first\\nthe reason')", timeout_s=60)
    with pytest.raises(OSError, match="does not answer within"):
        output(sys.executable, "-IS", "-c", "import time; time.sleep(60)", timeout_s=0.2)
    with pytest.raises(OSError, match="no-such-program"):
        output("no-such-program")
