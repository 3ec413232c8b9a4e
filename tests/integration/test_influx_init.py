"""influx-init against a real InfluxDB."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from influxdb.exceptions import InfluxDBClientError

from aggr_server.influx import InfluxClient, InfluxError
from aggr_server.settings import Connections
from services import influx_init
from services.core import schema
from services.core.settings import InfluxSchemaSettings
from tests.integration.children import bare
from tests.integration.servers import ROOT, InfluxServer

MARKET = "BINANCE_FUTURES:btcusdt"


def settings_for(connections: Connections, retention_1s: str = "24h") -> InfluxSchemaSettings:
    return InfluxSchemaSettings(
        influx_port=connections.influx_port,
        influx_database=connections.influx_database,
        influx_retention_1s=retention_1s,
    )


def apply(settings: InfluxSchemaSettings) -> list[str]:
    with influx_init.connect(settings) as client:
        return influx_init.apply_schema(client, settings, report=lambda _: None)


def bar(second: int, price: float, volume: float, count: int, market: str = MARKET) -> str:
    return (
        f"trades_1s,market={market} open={price},high={price + 2},low={price - 2},"
        f"close={price + 1},vbuy={volume},vsell={volume / 2},cbuy={count}i,csell=1i,"
        f"lbuy=0,lsell={volume / 10} {second}"
    )


async def until(
    influx: InfluxClient, query: str, wanted: Mapping[str, object]
) -> dict[str, object]:
    """Wait until the query's only row has these values."""
    deadline = time.monotonic() + 30
    while True:
        rows = await influx.query(query)
        if len(rows) == 1 and wanted.items() <= rows[0].items():
            return rows[0]
        assert time.monotonic() < deadline, f"{query}: {rows}, wanted {wanted}"
        # Continuous queries run by the server's own timer; there is nothing to await.
        await asyncio.sleep(0.2)


async def test_one_second_bars_reach_1m_and_5m_also_when_amended(
    influx: InfluxClient, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_quick_rollups(monkeypatch)
    apply(settings_for(connections))
    minute = int(time.time()) // 60 * 60 - 60
    five = minute // 300 * 300
    seconds = (minute, minute + 1, minute + 59)
    bars = [bar(s, 100.0 + i, 10.0 * (i + 1), i + 1) for i, s in enumerate(seconds)]
    await influx.write(bars, retention_policy="aggr_1s")

    query_1m = f"SELECT * FROM aggr_1m.trades_1m WHERE time = {minute}s"
    query_5m = f"SELECT * FROM aggr_5m.trades_5m WHERE time = {five}s"
    built = {"open": 100, "high": 104, "low": 98, "close": 103, "vbuy": 60, "vsell": 30}
    counts = {"cbuy": 6, "csell": 3, "lbuy": 0, "lsell": 6, "market": MARKET}
    row = await until(influx, query_1m, {**built, **counts})
    assert isinstance(row["cbuy"], int)
    await until(influx, query_5m, {**built, **counts})

    await influx.write([bar(minute + 1, 200.0, 50.0, 7)], retention_policy="aggr_1s")
    amended = {"open": 100, "high": 202, "close": 103, "vbuy": 90, "cbuy": 11}
    await until(influx, query_1m, amended)
    await until(influx, query_5m, amended)
    types = await influx.query("SHOW FIELD KEYS FROM aggr_5m.trades_5m")
    assert {r["fieldKey"]: r["fieldType"] for r in types}["cbuy"] == "integer"


def use_quick_rollups(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same queries over the same windows, run by the server as often as it can."""
    quick = tuple(schema.Rollup(r.name, r.source, r.target, "1s", r.over) for r in schema.ROLLUPS)
    monkeypatch.setattr(schema, "ROLLUPS", quick)


async def test_rebuild_fills_every_timeframe_from_what_is_stored(
    influx: InfluxClient, connections: Connections
) -> None:
    four_hours = int(time.time()) // 14400 * 14400 - 2 * 14400
    seconds = range(four_hours, four_hours + 14400, 600)
    await influx.write([bar(s, 100.0, 1.0, 1) for s in seconds], retention_policy="aggr_1s")
    with influx_init.connect(settings_for(connections)) as client:
        influx_init.rebuild(client, connections.influx_database, 13, report=lambda _: None)
    for label, expected in (("1m", 24), ("5m", 24), ("15m", 16), ("30m", 8), ("1h", 4), ("4h", 1)):
        rows = await influx.query(f"SELECT cbuy FROM aggr_{label}.trades_{label}")
        counts = [row["cbuy"] for row in rows]
        assert (len(counts), sum(counts)) == (expected, 24), label


async def test_a_second_run_changes_nothing(influx: InfluxClient, connections: Connections) -> None:
    assert apply(settings_for(connections)) == []


async def test_default_policy_and_retention_are_as_promised(
    influx: InfluxClient, connections: Connections
) -> None:
    rows = await influx.query(f'SHOW RETENTION POLICIES ON "{connections.influx_database}"')
    policies = {row["name"]: row["duration"] for row in rows}
    assert [row["name"] for row in rows if row["default"]] == ["30_days"]
    assert policies["aggr_1s"] == "24h0m0s"
    assert {policies[f"aggr_{label}"] for label in ("1m", "5m", "15m", "30m", "1h", "4h")} == {
        "720h0m0s"
    }


async def test_another_retention_is_applied_to_an_existing_database_and_keeps_its_bars(
    influx: InfluxClient, connections: Connections
) -> None:
    await influx.write([bar(int(time.time()), 1.0, 1.0, 1)], retention_policy="aggr_1s")
    changes = apply(settings_for(connections, retention_1s="2d"))
    assert len(changes) == 1
    assert "aggr_1s" in changes[0]
    rows = await influx.query(f'SHOW RETENTION POLICIES ON "{connections.influx_database}"')
    assert {row["name"]: row["duration"] for row in rows}["aggr_1s"] == "48h0m0s"
    assert len(await influx.query("SELECT close FROM aggr_1s.trades_1s")) == 1


async def test_a_changed_continuous_query_is_replaced_and_foreign_ones_are_left_alone(
    influx: InfluxClient, connections: Connections
) -> None:
    database = connections.influx_database
    own = "SELECT count(close) INTO mine FROM aggr_1s.trades_1s GROUP BY time(1h)"
    await influx.query(f'CREATE CONTINUOUS QUERY "mine" ON "{database}" BEGIN {own} END')
    await influx.query(f'DROP CONTINUOUS QUERY "cq_5m" ON "{database}"')
    await influx.query(f'CREATE CONTINUOUS QUERY "cq_5m" ON "{database}" BEGIN {own} END')
    changes = apply(settings_for(connections))
    assert len(changes) == 1
    assert "replaced continuous query cq_5m" in changes[0]
    texts = {row["name"]: row["query"] for row in await influx.query("SHOW CONTINUOUS QUERIES")}
    assert "trades_5m" in texts["cq_5m"]
    assert "mine" in texts


@pytest.fixture
def secured_influx(tmp_path: Path) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path / "influx", auth=True)
    server.start()
    yield server
    server.kill()


def run_init(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.influx_init", *arguments],
        env={**bare(), "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server", **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


async def test_the_first_run_creates_the_administrator_and_a_wrong_password_is_refused(
    secured_influx: InfluxServer,
) -> None:
    port = str(secured_influx.port)
    good = {"INFLUX_PORT": port, "INFLUX_USERNAME": "trader", "INFLUX_PASSWORD": "it's secret"}
    first = run_init(**good)
    assert first.returncode == 0, first.stderr
    assert "created administrator trader" in first.stdout
    second = run_init(**good)
    assert second.returncode == 0, second.stderr
    assert "0 changes" in second.stdout
    assert "created" not in second.stdout

    wrong = run_init(**{**good, "INFLUX_PASSWORD": "guess"})
    assert wrong.returncode == 1
    assert len(wrong.stderr.splitlines()) == 1
    assert "INFLUX_PASSWORD" in wrong.stderr
    assert "guess" not in wrong.stderr
    anyone = Connections(influx_port=secured_influx.port)
    async with InfluxClient(anyone) as client:
        with pytest.raises(InfluxError):
            await client.query("SHOW DATABASES")
    known = Connections(
        influx_port=secured_influx.port, influx_username="trader", influx_password="it's secret"
    )
    async with InfluxClient(known) as client:
        assert {"name": "significant_trades"} in await client.query("SHOW DATABASES")


def test_a_new_password_replaces_the_old_one_and_can_be_given_again(
    secured_influx: InfluxServer,
) -> None:
    settings = InfluxSchemaSettings(
        influx_port=secured_influx.port, influx_username="trader", influx_password="the old one"
    )
    influx_init.ensure_user(settings, report=lambda _: None)

    influx_init.set_password(settings, "it's new")
    # As after an interruption: the old one is not taken any more, the new one is there already.
    influx_init.set_password(settings, "it's new")

    with influx_init.connect(settings) as old, pytest.raises(InfluxDBClientError):
        old.get_list_database()
    now = msgspec.structs.replace(settings, influx_password="it's new")
    with influx_init.connect(now) as client:
        client.get_list_database()
    with pytest.raises(influx_init.Refused, match="secrets/influx_password"):
        influx_init.set_password(settings, "another")


def test_a_bad_retention_is_named_with_the_remedy() -> None:
    short = run_init(INFLUX_RETENTION_1S="3h")
    assert short.returncode == 78
    assert "INFLUX_RETENTION_1S" in short.stderr
    assert len(short.stderr.splitlines()) == 1


def test_it_waits_for_a_server_that_starts_late(tmp_path: Path) -> None:
    server = InfluxServer(tmp_path / "influx")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.influx_init"],
        env={
            **bare(),
            "PYTHONPATH": f"{ROOT}:{ROOT}/aggr-server",
            "INFLUX_PORT": str(server.port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"127.0.0.1:{server.port} does not answer" in line
        assert "INFLUX_HOST" in line
        server.start()
        output, errors = process.communicate(timeout=40)
        assert process.returncode == 0, errors
        assert "is ready" in output
    finally:
        process.kill()
        process.wait()
        server.kill()
