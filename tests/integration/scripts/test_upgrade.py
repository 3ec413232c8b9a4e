"""I2: the commands run twice, and over what an earlier release has left, with nothing lost.

The earlier release is an old commit of this repository, started as its own users started it. The
exchanges are the simulator, which both releases reach through the gateway.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from aggr_server.env import load
from scripts.stack.evidence import Evidence
from scripts.stack.probes import redis_client
from services.core.settings import MonitorSettings
from tests.integration.clones import copy_sources, lend_environment
from tests.integration.servers import ROOT, free_port
from tests.operator.place import PORTS, Place, exchanges, trading_at, without

EARLIER = "6cbc951"
"""The last one whose alerts had settings, and before there were page_password and deadman_url."""
RETIRED = ("ALERT_DISK_PERCENT", "ALERT_DOWN_S", "ALERT_START_S")
REQUIREMENTS = ("requirements-dev.txt", "freqtrade/requirements.txt")
MARK = "squeezeflow:executed:of-the-earlier-release"
BARS = "SELECT count(close), sum(vbuy), sum(vsell) FROM aggr_1s.trades_1s WHERE time <= {} "
POLICIES = 'SHOW RETENTION POLICIES ON "significant_trades"'
DATABASE = ".local/live/freqtrade/tradesv3.dryrun.sqlite"
UP = "./scripts/up.sh --native"
DOWN = "./scripts/down.sh"


class Clone(Place):
    """The project at one release after the other."""

    def become(self, commit: str = "") -> None:
        """Take on the sources of a commit, or those that are tested; data and settings stay."""
        for path in self.root.iterdir():
            if path.name not in (".local", ".env", "secrets", "backups"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not commit:
            copy_sources(self.root)
            return
        packed = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", str(self.root)], input=packed.stdout, check=True)
        for name in REQUIREMENTS:
            # The environments are lent: no release may change them.
            shutil.copy2(ROOT / name, self.root / name)

    def influx(self, statement: str) -> list[dict[str, Any]]:
        """The rows of an answer."""
        return Evidence(self._stores()).influx(statement)

    def redis(self) -> redis.Redis:
        """A client of the stack's Redis."""
        return redis_client(load(MonitorSettings, self._stores()))

    def secrets(self) -> dict[str, str]:
        """Name -> content of every secret that is not blank."""
        files = (self.root / "secrets").iterdir()
        return {f.name: text for f in files if (text := f.read_text()).strip()}

    def bot_began(self) -> str:
        """When freqtrade was first started on its database."""
        with closing(sqlite3.connect(self.root / DATABASE)) as database:
            question = "SELECT datetime_value FROM KeyValueStore WHERE key = 'bot_start_time'"
            return str(database.execute(question).fetchone()[0])

    def _stores(self) -> dict[str, str]:
        """Settings that lead to them. Each release has other secrets, but always these."""
        ports = {name: str(self.ports[name]) for name in ("REDIS_PORT", "INFLUX_PORT")}
        secrets = self.root / "secrets"
        return {
            **ports,
            "REDIS_PASSWORD_FILE": str(secrets / "redis_password"),
            "INFLUX_PASSWORD_FILE": str(secrets / "influx_password"),
        }


@pytest.fixture
def clone(short_path: Path) -> Iterator[Clone]:
    """Set up as by a user of the earlier release."""
    environ = {
        # An engine on this machine may run a stack of the same name.
        "PATH": without(short_path / "bin", "docker"),
        "HOME": os.environ.get("HOME", "/root"),
        "PYTHON": sys.executable,
    }
    made = Clone(short_path / "clone", environ, {name: free_port() for name in PORTS})
    lend_environment(made.root)
    with exchanges(short_path) as port:
        settings = {**made.ports, **dict.fromkeys(RETIRED, 60), **trading_at(port)}
        (made.root / ".env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        (made.root / ".env").chmod(0o600)
        try:
            yield made
        finally:
            if (made.root / "scripts").exists():
                made.run(DOWN)


def bars_until_there_are_some(clone: Clone) -> tuple[int, list[dict[str, Any]]]:
    """A moment in ns, and what the collector has stored up to then and will not amend."""
    deadline = time.monotonic() + 120
    while True:
        moment = time.time_ns() - 15_000_000_000
        if (found := clone.influx(BARS.format(moment))) and found[0]["count"] > 20:
            return moment, found
        assert time.monotonic() < deadline, "the earlier release stores no bars"
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_i2_an_upgrade_keeps_settings_secrets_and_data_and_a_second_start_changes_nothing(
    clone: Clone,
) -> None:
    clone.become(EARLIER)
    clone.must(UP)
    moment, stored = bars_until_there_are_some(clone)
    with clone.redis() as bus:
        bus.set(MARK, "1")
    clone.must(DOWN)
    secrets, began = clone.secrets(), clone.bot_began()
    dotenv = (clone.root / ".env").read_text()

    clone.become()
    said = clone.must(UP)
    for name in RETIRED:
        assert f"{name} in .env does nothing any more" in said
    assert clone.influx(BARS.format(moment)) == stored
    with clone.redis() as bus:
        assert bus.get(MARK) == b"1"
    assert clone.bot_began() == began
    assert secrets.items() <= clone.secrets().items()
    assert clone.secrets().keys() > secrets.keys()
    assert (clone.root / ".env").read_text() == dotenv
    of_the_schema = clone.influx(POLICIES)

    now = clone.secrets()
    again = clone.must(UP)
    assert "is running already" in again
    assert "have changed" not in again
    (clone.root / ".env").write_text(f"{dotenv}LOG_LEVEL=INFO\n")
    assert "sources or settings have changed since its start" in clone.must(UP)
    clone.must(DOWN)
    clone.must(UP)
    assert clone.secrets() == now
    log = (clone.root / ".local/log/influx-init.log").read_text()
    assert "is ready, 0 changes" in log.splitlines()[-1]
    assert clone.influx(POLICIES) == of_the_schema
    assert clone.influx(BARS.format(moment)) == stored

    doctored(clone)
    uninstalled(clone)


def doctored(clone: Clone) -> None:
    """The doctor finds the running stack well, and names what is retired."""
    done = clone.run("./scripts/doctor.sh --install --offline --json 2> /dev/null")
    found = json.loads(done.text)["findings"]
    assert [f for f in found if f["state"] == "fail"] == []
    services = {f["name"]: f["state"] for f in found if f["group"] == "Services"}
    assert len(services) >= 9
    assert set(services.values()) == {"ok"}
    assert sum(f["name"] == "retired" for f in found) == len(RETIRED)
    assert done.status == 1


def uninstalled(clone: Clone) -> None:
    """Listed first; then the running stack is stopped, and what it made is gone."""
    listed = clone.run("./scripts/uninstall.sh")
    assert "the running local processes" in listed.text
    assert (clone.root / DATABASE).exists()
    clone.must("./scripts/uninstall.sh --yes")
    assert not (clone.root / ".local").exists()
    assert not (clone.root / "secrets").exists()
    assert (clone.root / ".env").exists()
    with pytest.raises(redis.ConnectionError):
        redis.Redis(port=clone.ports["REDIS_PORT"]).ping()
