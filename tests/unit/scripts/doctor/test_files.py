from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.doctor import files
from scripts.doctor.findings import Finding
from scripts.doctor.site import Site, examine
from scripts.stack import backup_folder, secret_files

CONFIG = "freqtrade/config/config.json"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    # Where temporary folders are is no matter of the clone.
    monkeypatch.setattr(files, "LONGEST_SOCKET_PATH", 1_000)
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text('{"dry_run": true}')
    secret_files.ensure(tmp_path / "secrets")
    return Site(tmp_path)


def wrong(site: Site) -> list[Finding]:
    return [f for f in files.check(site) if f.state in ("warn", "fail")]


def test_a_clone_as_it_should_be_has_nothing_wrong(site: Site) -> None:
    assert wrong(site) == []


def test_a_clone_that_was_never_started_has_nothing_wrong(tmp_path: Path, site: Site) -> None:
    for path in (tmp_path / "secrets").iterdir():
        path.unlink()
    (tmp_path / "secrets").rmdir()
    assert wrong(site) == []


def test_every_line_of_env_that_cannot_be_read_is_told_without_its_value(site: Site) -> None:
    (site.root / ".env").write_text("REDIS PORT=1\nREDIS_PASSWORD hunter2\n")
    (found,) = wrong(site)
    assert found.state == "fail"
    assert "line 1" in found.found
    assert "line 2" in found.found
    assert "hunter2" not in found.found


def test_an_env_that_is_no_text_is_told(site: Site) -> None:
    (site.root / ".env").write_bytes(b"\xff\xfe\x00")
    assert [f.name for f in wrong(site)] == [".env"]


def test_an_env_with_secrets_is_for_its_owner_alone(site: Site) -> None:
    path = site.root / ".env"
    path.write_text("PORT=3000\nREDIS_PASSWORD=x\n")
    path.chmod(0o640)
    (found,) = wrong(site)
    assert "REDIS_PASSWORD" in found.found
    assert "PORT," not in found.found
    assert found.remedy == "chmod 600 .env"
    path.chmod(0o600)
    assert wrong(site) == []


def test_an_open_folder_of_secrets_fails(site: Site) -> None:
    (site.root / "secrets").chmod(0o750)
    (found,) = wrong(site)
    assert (found.state, found.remedy) == ("fail", "chmod 700 secrets")


def test_secrets_that_others_may_change_are_told(site: Site) -> None:
    (site.root / "secrets/redis_password").chmod(0o666)
    (found,) = wrong(site)
    assert found.remedy == "chmod go-w secrets/redis_password"


def test_a_key_without_its_secret_is_told(site: Site) -> None:
    (site.root / "secrets/freqtrade_exchange_key").write_text("abc\n")
    (found,) = wrong(site)
    assert "secrets/freqtrade_exchange_secret" in found.remedy


def test_a_secret_of_a_newer_release_is_only_noted(site: Site) -> None:
    (site.root / "secrets/page_password").unlink()
    assert wrong(site) == []
    assert any("page_password" in f.found for f in files.check(site) if f.state == "note")


def test_a_broken_config_fails(site: Site) -> None:
    (site.root / CONFIG).write_text("{dry_run")
    (found,) = wrong(site)
    assert found.name == "config.json"


def test_real_money_is_said_in_capitals(site: Site) -> None:
    (site.root / ".env").write_text("FREQTRADE__DRY_RUN=false\n")
    told = {f.name: f.found for f in files.check(examine(site.root))}
    assert told["config.json"] == "REAL money"


def test_data_of_another_user_fails_with_the_command_that_mends_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.local / "live/influx").mkdir(parents=True)
    (site.local / "live/influx/meta.db").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    found = {f.name: f for f in wrong(site)}
    assert found["local data"].state == "fail"
    assert found["local data"].remedy == f"sudo chown -R 12345 {site.local}"


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    assert files._path(Site(tmp_path / ("d" * 90))).state == "warn"


@pytest.mark.parametrize(("uid", "state"), [(backup_folder.USER, "ok"), (4242, "fail")])
def test_backups_may_be_the_containers_but_nobody_elses(
    site: Site, monkeypatch: pytest.MonkeyPatch, uid: int, state: str
) -> None:
    (site.root / "backups").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: "backups" not in str(path))
    real = Path.stat

    def owned(path: Path, **options: bool) -> os.stat_result:
        found = list(real(path, **options))
        found[4] = uid if path.name == "backups" else found[4]
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", owned)
    found = {f.name: f.state for f in files._folders(site)}
    assert found["backups"] == state
