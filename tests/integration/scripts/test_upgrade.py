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
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.servers import ROOT, free_port

EARLIER = "6cbc951"
"""The last one whose alerts had settings, and before there were page_password and deadman_url."""
RETIRED = ("ALERT_DISK_PERCENT", "ALERT_DOWN_S", "ALERT_START_S")
PORTS = ("REDIS_PORT", "INFLUX_PORT", "INFLUX_RPC_PORT", "PORT", "FREQTRADE_PORT", "HEALTH_PORT")
REQUIREMENTS = ("requirements-dev.txt", "freqtrade/requirements.txt")
MARK = "squeezeflow:executed:of-the-earlier-release"
BARS = "SELECT count(close), sum(vbuy), sum(vsell) FROM aggr_1s.trades_1s WHERE time <= {} "
DATABASE = ".local/live/freqtrade/tradesv3.dryrun.sqlite"


class Clone:
    """The project in a folder of its own, at one release after the other."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        self._bin = folder / "bin"
        self.ports = {name: free_port() for name in PORTS}
        (self.root / ".local").mkdir(parents=True)
        for name in ("venv", "freqtrade", "debian", "uv"):
            if (ROOT / ".local" / name).exists():
                (self.root / ".local" / name).symlink_to((ROOT / ".local" / name).resolve())
        # An engine on this machine may run a stack of the same name.
        self._bin.mkdir()
        (self._bin / "docker").write_text("#!/bin/sh\nexit 1\n")
        (self._bin / "docker").chmod(0o755)

    def become(self, commit: str = "") -> None:
        """Take on the sources of a commit, or those that are tested; data and settings stay."""
        for path in self.root.iterdir():
            if path.name not in (".local", ".env", "secrets", "backups"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if commit:
            packed = subprocess.run(
                ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
            )
            subprocess.run(["tar", "-x", "-C", str(self.root)], input=packed.stdout, check=True)
        else:
            listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
            files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
            for name in filter(None, files.stdout.split("\0")):
                if (ROOT / name).is_file():
                    (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, self.root / name)
        for name in REQUIREMENTS:
            # The environments are lent: no release may change them.
            shutil.copy2(ROOT / name, self.root / name)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One of the scripts, as a user types it."""
        return subprocess.run(
            [str(self.root / command[0]), *command[1:]],
            env={
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "HOME": os.environ.get("HOME", "/root"),
                "PYTHON": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=420,
        )

    def up(self) -> str:
        """Start the stack; what it said."""
        done = self.run("scripts/up.sh", "--native")
        assert done.returncode == 0, done.stderr
        return done.stderr

    def influx(self, statement: str) -> list[Any]:
        """The rows of an answer."""
        query = urllib.parse.urlencode({"db": "significant_trades", "q": statement})
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['INFLUX_PORT']}/query?{query}"
        )
        login = f"squeezeflow:{(self.root / 'secrets/influx_password').read_text().strip()}"
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            (result,) = json.load(answer)["results"]
        return list(result["series"][0]["values"]) if "series" in result else []

    def redis(self) -> redis.Redis:
        """A client of the stack's Redis."""
        password = (self.root / "secrets/redis_password").read_text().strip()
        return redis.Redis(port=self.ports["REDIS_PORT"], password=password, socket_timeout=10)

    def secrets(self) -> dict[str, str]:
        """Name -> content of every secret that is not blank."""
        files = (self.root / "secrets").iterdir()
        return {f.name: text for f in files if (text := f.read_text()).strip()}

    def bot_began(self) -> str:
        """When freqtrade was first started on its database."""
        with closing(sqlite3.connect(self.root / DATABASE)) as database:
            question = "SELECT datetime_value FROM KeyValueStore WHERE key = 'bot_start_time'"
            return str(database.execute(question).fetchone()[0])


@pytest.fixture
def clone(short_path: Path) -> Iterator[Clone]:
    """Set up as by a user of the earlier release."""
    made, port = Clone(short_path), free_port()
    gateway = f"http://127.0.0.1:{port}"
    settings = {
        **{name: str(number) for name, number in made.ports.items()},
        **dict.fromkeys(RETIRED, "60"),
        "EXCHANGE_GATEWAY": gateway,
        "FREQTRADE__EXCHANGE__CCXT_CONFIG__URLS__API__fapiPublic": (
            f"{gateway}/fapi.binance.com/fapi/v1"
        ),
        "AGGR_EXCHANGES": "BINANCE,BINANCE_FUTURES,BYBIT",
        "OI_EXCHANGES": "BINANCE_FUTURES,BYBIT",
    }
    (made.root / ".env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
    (made.root / ".env").chmod(0o600)
    environ = {
        **os.environ,
        "SIMULATOR_PORT": str(port),
        "SIMULATOR_HISTORY": "false",
        "SIMULATOR_DIR": str(short_path / "simulator"),
        "SIMULATOR_VENUES": settings["AGGR_EXCHANGES"],
        "REDIS_PORT": str(made.ports["REDIS_PORT"]),
        "HEARTBEAT_DIR": str(short_path / "alive"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}",
    }
    with (short_path / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen(
            [sys.executable, "-m", "services.simulator"], env=environ, stdout=log, stderr=log
        )
    try:
        yield made
    finally:
        if (made.root / "scripts").exists():
            made.run("scripts/down.sh")
        simulator.kill()
        simulator.wait()


def bars_until_there_are_some(clone: Clone) -> tuple[int, list[Any]]:
    """A moment in ns, and what the collector has stored up to then and will not amend."""
    deadline = time.monotonic() + 120
    while True:
        moment = time.time_ns() - 15_000_000_000
        if (found := clone.influx(BARS.format(moment))) and found[0][1] > 20:
            return moment, found
        assert time.monotonic() < deadline, "the earlier release stores no bars"
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_i2_an_upgrade_keeps_settings_secrets_and_data_and_a_second_start_changes_nothing(
    clone: Clone,
) -> None:
    clone.become(EARLIER)
    clone.up()
    moment, stored = bars_until_there_are_some(clone)
    with clone.redis() as bus:
        bus.set(MARK, "1")
    assert clone.run("scripts/down.sh").returncode == 0
    secrets, began = clone.secrets(), clone.bot_began()
    dotenv = (clone.root / ".env").read_text()

    clone.become()
    said = clone.up()
    for name in RETIRED:
        assert f"{name} in .env does nothing any more" in said
    assert clone.influx(BARS.format(moment)) == stored
    with clone.redis() as bus:
        assert bus.get(MARK) == b"1"
    assert clone.bot_began() == began
    assert secrets.items() <= clone.secrets().items()
    assert clone.secrets().keys() > secrets.keys()
    assert (clone.root / ".env").read_text() == dotenv
    of_the_schema = clone.influx('SHOW RETENTION POLICIES ON "significant_trades"')

    now = clone.secrets()
    again = clone.up()
    assert "is running already" in again
    assert "have changed" not in again
    (clone.root / ".env").write_text(f"{dotenv}LOG_LEVEL=INFO\n")
    assert "sources or settings have changed since its start" in clone.up()
    assert clone.run("scripts/down.sh").returncode == 0
    clone.up()
    assert clone.secrets() == now
    log = (clone.root / ".local/log/influx-init.log").read_text()
    assert "is ready, 0 changes" in log.splitlines()[-1]
    assert clone.influx('SHOW RETENTION POLICIES ON "significant_trades"') == of_the_schema
    assert clone.influx(BARS.format(moment)) == stored

    doctored(clone)
    uninstalled(clone)


def doctored(clone: Clone) -> None:
    """The doctor finds the running stack well, and names what is retired."""
    done = clone.run("scripts/doctor.sh", "--install", "--offline", "--json")
    found = json.loads(done.stdout)["findings"]
    assert [f for f in found if f["state"] == "fail"] == []
    services = {f["name"]: f["state"] for f in found if f["group"] == "Services"}
    assert len(services) >= 9
    assert set(services.values()) == {"ok"}
    assert sum(f["name"] == "retired" for f in found) == len(RETIRED)
    assert done.returncode == 1


def uninstalled(clone: Clone) -> None:
    """Listed first; then the running stack is stopped, and what it made is gone."""
    listed = clone.run("scripts/uninstall.sh")
    assert "the running local processes" in listed.stdout
    assert (clone.root / DATABASE).exists()
    done = clone.run("scripts/uninstall.sh", "--yes")
    assert done.returncode == 0, done.stderr
    assert not (clone.root / ".local").exists()
    assert not (clone.root / "secrets").exists()
    assert (clone.root / ".env").exists()
    with pytest.raises(redis.ConnectionError):
        redis.Redis(port=clone.ports["REDIS_PORT"]).ping()
