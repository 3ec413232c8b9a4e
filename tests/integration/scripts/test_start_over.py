"""I2, what of it is quick: the start's own steps over a database that an earlier release made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from influxdb import InfluxDBClient

from scripts.stack import dotenv, environment, retired, secret_files
from scripts.stack.layout import Layout
from scripts.stack.settings import StackSettings, validate
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.servers import ROOT
from tests.integration.stack_influx import StackInflux

DATABASE = "significant_trades"
EARLIER_SECRETS = ("redis_password", "influx_password")
EARLIER_QUERY = (
    f"CREATE CONTINUOUS QUERY cq_5m ON {DATABASE} BEGIN SELECT max(high) AS high INTO "
    f"{DATABASE}.aggr_5m.trades_5m FROM {DATABASE}.aggr_1s.trades_1s GROUP BY time(5m), market END"
)


@pytest.fixture
def layout(short_path: Path) -> Layout:
    """As an earlier release left it: fewer secrets, settings that have retired since."""
    made = Layout(short_path, demo=False)
    made.prepare()
    made.secrets.mkdir()
    for name in EARLIER_SECRETS:
        (made.secrets / name).write_text(f"earlier-{name}\n")
    return made


@pytest.fixture
def server(layout: Layout) -> Iterator[StackInflux]:
    """Running, with the earlier release's schema and bars in it."""
    server = StackInflux(layout)
    server.start()
    (layout.root / ".env").write_text(
        f"INFLUX_PORT={server.port}\nINFLUX_RETENTION_1S=48h\nALERT_DOWN_S=60\n"
    )
    with InfluxDBClient(port=server.port) as anyone:
        anyone.create_user("squeezeflow", "earlier-influx_password", admin=True)
    with client(server) as owner:
        owner.create_database(DATABASE)
        owner.create_retention_policy("aggr_1s", "INF", "1", DATABASE, shard_duration="1h")
        owner.create_retention_policy("aggr_5m", "720h", "1", DATABASE)
        owner.query(EARLIER_QUERY, method="POST")
        for policy, measurement in (("aggr_1s", "trades_1s"), ("aggr_5m", "trades_5m")):
            bars = [f"{measurement},market=BYBIT:BTCUSDT close={price}" for price in (1, 2)]
            for second, bar in enumerate(bars):
                owner.write_points(
                    [f"{bar} {1_900_000_000 + 60 * second}"],
                    time_precision="s", protocol="line", database=DATABASE,
                    retention_policy=policy,
                )  # fmt: skip
    yield server
    server.kill()


def client(server: StackInflux) -> InfluxDBClient:
    """With the login of the earlier release."""
    return InfluxDBClient(
        port=server.port, username="squeezeflow", password="earlier-influx_password"
    )


def start(layout: Layout) -> str:
    """What `up.sh` does up to the schema; what influx-init said."""
    secret_files.ensure(layout.secrets)
    layout.prepare()
    environ = environment.build(layout, dotenv.read(layout.root / ".env"), StackSettings())
    validate(environ)
    environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'aggr-server'}"
    return subprocess.run(
        [sys.executable, "-m", "services.influx_init"],
        env={**os.environ, **environ}, capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip


def bars(server: StackInflux) -> list[float]:
    """Close of every bar, one-second ones first."""
    with client(server) as owner:
        return [
            point["close"]
            for name in ("aggr_1s.trades_1s", "aggr_5m.trades_5m")
            for point in owner.query(f"SELECT close FROM {name}", database=DATABASE).get_points()
        ]


def test_i2_a_start_over_an_earlier_database_keeps_its_bars_and_brings_it_up_to_date(
    layout: Layout, server: StackInflux
) -> None:
    assert bars(server) == [1, 2, 1, 2]
    said = start(layout)
    assert "replaced continuous query cq_5m" in said
    assert "retention policy aggr_1s: 48 h" in said
    assert bars(server) == [1, 2, 1, 2]
    settings = InfluxSchemaSettings(
        influx_port=server.port,
        influx_password="earlier-influx_password",
        influx_retention_1s="48h",
    )
    with influx_init.connect(settings) as owner:
        assert influx_init.apply_schema(owner, settings, report=lambda _: None) == []


def test_i2_a_second_start_changes_nothing(layout: Layout, server: StackInflux) -> None:
    start(layout)
    made = {path.name: path.read_bytes() for path in layout.secrets.iterdir()}
    assert "is ready, 0 changes" in start(layout)
    assert {path.name: path.read_bytes() for path in layout.secrets.iterdir()} == made
    assert bars(server) == [1, 2, 1, 2]


def test_i2_secrets_that_are_there_stay_and_new_ones_are_made(layout: Layout) -> None:
    created = secret_files.ensure(layout.secrets)
    assert set(created) == set(secret_files.NAMES) - set(EARLIER_SECRETS)
    for name in EARLIER_SECRETS:
        assert (layout.secrets / name).read_text() == f"earlier-{name}\n"
    assert all((layout.secrets / name).exists() for name in secret_files.FOREIGN)


def test_i2_settings_that_have_retired_hold_no_start_up_and_are_named(layout: Layout) -> None:
    (layout.root / ".env").write_text("ALERT_DOWN_S=60\nALERT_DISK_PERCENT=90\nPORT=3001\n")
    given = dotenv.read(layout.root / ".env")
    secret_files.ensure(layout.secrets)
    assert validate(environment.build(layout, given, StackSettings())).port == 3001
    named = [line.split()[0] for line in retired.lines(given)]
    assert named == ["ALERT_DISK_PERCENT", "ALERT_DOWN_S"]
