from __future__ import annotations

import time
from pathlib import Path

import pytest

from scripts.doctor import store
from scripts.doctor.findings import Finding
from scripts.doctor.site import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "backups").mkdir()
    return Site(tmp_path)


def backup(site: Site, *, hours_ago: float, name: str = "squeezeflow-{}") -> None:
    made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 3600 * hours_ago))
    (site.root / "backups" / name.format(made)).mkdir()


def found(site: Site) -> dict[str, Finding]:
    return {f.name: f for f in store.check(site)}


def test_nothing_to_lose_needs_no_backup(site: Site) -> None:
    assert found(site)["backup"].state == "ok"


def test_data_without_a_backup_is_told(site: Site) -> None:
    (site.local / "live").mkdir(parents=True)
    assert found(site)["backup"].state == "warn"
    backup(site, hours_ago=1, name=".squeezeflow-{}.part")
    assert found(site)["backup"].state == "warn"


@pytest.mark.parametrize(("hours", "state"), [(3.0, "ok"), (25.0, "ok"), (30.0, "warn")])
def test_an_old_backup_is_told(site: Site, hours: float, state: str) -> None:
    backup(site, hours_ago=100)
    backup(site, hours_ago=hours)
    assert found(site)["backup"].state == state
    assert f"{hours:.0f} h ago" in found(site)["backup"].found


def test_what_databases_take_on_disk_is_told(site: Site) -> None:
    (site.local / "live/influx/data/x").mkdir(parents=True)
    (site.local / "live/influx/data/x/1.tsm").write_bytes(b"x" * 3_000_000)
    assert found(site)["influx"].found == "3 MB in .local/live/influx"


def test_a_link_that_leads_nowhere_has_a_size_too(site: Site) -> None:
    (site.root / "broken").symlink_to("/nowhere")
    assert store.size(site.root) < 1000


GOOD = {"used_memory": "100000000", "maxmemory": "2000000000", "evicted_keys": "0"}


@pytest.mark.parametrize(
    ("change", "states"),
    [
        ({}, ["ok"]),
        ({"used_memory": "1700000000"}, ["warn"]),
        ({"evicted_keys": "7"}, ["ok", "warn"]),
        ({"aof_last_write_status": "err"}, ["ok", "fail"]),
        ({"rdb_last_bgsave_status": "err"}, ["ok", "fail"]),
        ({"maxmemory": "0"}, ["ok"]),
    ],
)
def test_redis_is_judged_by_what_it_tells(change: dict[str, str], states: list[str]) -> None:
    assert [f.state for f in store.redis_findings({**GOOD, **change})] == states
