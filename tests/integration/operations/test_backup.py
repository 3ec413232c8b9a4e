"""A backup of real servers restored into empty ones holds the same; a bad one is refused."""

from __future__ import annotations

import sqlite3
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.backup import influx
from scripts.backup.create import create
from scripts.backup.manifest import BackupError
from scripts.backup.native import NativeSource, NativeTarget
from scripts.backup.restore import restore
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.servers import InfluxServer, RedisServer, programs

PASSWORD = "a long enough password"
DATABASE = "significant_trades"
SECONDS = 600
TRADES = 25


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSource]:
    """A filled stack: InfluxDB that asks for a login, Redis with a password, a database in use."""
    root = tmp_path_factory.mktemp("stack")
    redis = RedisServer(root / "redis", PASSWORD)
    influxdb = InfluxServer(root / "influx", auth=True)
    redis.start()
    influxdb.start()
    environ = {
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": PASSWORD,
        "INFLUX_PORT": str(influxdb.port),
        "INFLUX_RPC_PORT": str(influxdb.rpc_port),
        "INFLUX_PASSWORD": PASSWORD,
        "FREQTRADE_DATA_DIR": str(root / "freqtrade"),
        "FREQTRADE_CONFIG": str(root / "config.json"),
    }
    (root / "config.json").write_text('{"dry_run": true}\n')
    made = NativeSource(root, environ, programs())
    _fill_influx(influxdb.port)
    for number in range(500):
        made.redis("SET", f"squeezeflow:executed:{number}", str(number))
    database = _fill_freqtrade(root / "freqtrade")
    yield made
    database.close()
    influxdb.stop()
    redis.stop()


def _fill_influx(port: int) -> None:
    settings = InfluxSchemaSettings(influx_port=port, influx_password=PASSWORD)
    influx_init.ensure_user(settings, report=lambda _: None)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    # Further back than any continuous query looks, so that nothing is added while tests count.
    start = int(time.time()) - 20 * 3600
    bars = "\n".join(
        f"trades_1s,market={market} open=1,high=2,low=1,close=2,vbuy={second},cbuy=1i "
        f"{start + second}"
        for market in ("BINANCE:btcusdt", "BYBIT:BTCUSDT")
        for second in range(SECONDS)
    )
    _write(port, "aggr_1s", bars)
    _write(port, "30_days", f'strategy_signals,symbol=BTCUSDT signal_id="x",score=7.5 {start}')
    _write(port, "30_days", f"open_interest,symbol=BTCUSDT open_interest=5 {start}")


def _write(port: int, policy: str, lines: str) -> None:
    query = urllib.parse.urlencode(
        {"db": DATABASE, "rp": policy, "precision": "s", "u": "squeezeflow", "p": PASSWORD}
    )
    url = f"http://127.0.0.1:{port}/write?{query}"
    with urllib.request.urlopen(urllib.request.Request(url, lines.encode())) as answer:
        assert answer.status == 204


def _fill_freqtrade(folder: Path) -> sqlite3.Connection:
    """A database whose rows are in the write-ahead log only, since it stays open."""
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "freqtrade.log").write_text("not worth keeping")
    (folder / "notes.json").write_text("{}")
    database = sqlite3.connect(folder / "tradesv3.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, enter_tag TEXT)")
    database.executemany(
        "INSERT INTO trades (enter_tag) VALUES (?)", [(f"signal-{n}",) for n in range(TRADES)]
    )
    database.commit()
    return database


@pytest.fixture(scope="module")
def backup(source: NativeSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = create(source, tmp_path_factory.mktemp("backups"), _silent)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> NativeTarget:
    return NativeTarget(tmp_path / "data", tmp_path / "data" / "freqtrade", programs())


def _silent(_: str) -> None:
    pass


def test_everything_is_there_after_restoring_into_an_empty_stack(
    source: NativeSource, backup: Path, target: NativeTarget, tmp_path: Path
) -> None:
    contents = restore(backup, target, _silent)

    target.open()
    try:
        before = influx.counts(source.influx, DATABASE, contents.created)
        assert influx.counts(target.influx, DATABASE, contents.created) == before == contents.counts
        assert before["aggr_1s.trades_1s"]["vbuy"] == 2 * SECONDS
        assert before["30_days.strategy_signals"] == {"score": 1, "signal_id": 1}
        assert target.redis("DBSIZE") == source.redis("DBSIZE") == "500"
        assert target.redis("GET", "squeezeflow:executed:499") == "499"
        policies = "SHOW RETENTION POLICIES ON significant_trades"
        assert influx.series(target.influx(policies)) == influx.series(source.influx(policies))
    finally:
        target.close()
    restored = tmp_path / "data" / "freqtrade"
    with sqlite3.connect(restored / "tradesv3.sqlite") as database:
        assert database.execute("SELECT count(*) FROM trades").fetchone() == (TRADES,)
    database.close()
    assert (restored / "notes.json").exists()
    assert not (restored / "logs").exists()


def test_a_sum_of_values_survives_as_well(backup: Path, target: NativeTarget) -> None:
    restore(backup, target, _silent)

    target.open()
    try:
        statement = f'SELECT sum(vbuy) FROM "{DATABASE}"."aggr_1s"."trades_1s"'
        [one] = influx.series(target.influx(statement))
        assert one["values"][0][1] == SECONDS * (SECONDS - 1)
    finally:
        target.close()


def test_a_changed_file_is_refused_before_anything_is_touched(
    source: NativeSource, target: NativeTarget, tmp_path: Path
) -> None:
    folder, _ = create(source, tmp_path / "backups", _silent)
    dump = folder / "redis" / "dump.rdb"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    next(folder.glob("influxdb/*.meta")).unlink()

    with pytest.raises(BackupError) as raised:
        restore(folder, target, _silent)

    assert "redis/dump.rdb: contents have changed" in str(raised.value)
    assert ".meta: missing" in str(raised.value)
    assert not (tmp_path / "data").exists()


def test_a_folder_without_manifest_is_refused(target: NativeTarget, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="not a complete backup"):
        restore(tmp_path, target, _silent)


def test_data_that_is_there_is_kept_unless_its_replacement_is_asked_for(
    backup: Path, target: NativeTarget
) -> None:
    restore(backup, target, _silent)

    with pytest.raises(BackupError, match=r"not empty: 500 keys in Redis, 3 measurements"):
        restore(backup, target, _silent)
    restore(backup, target, _silent, replace=True)


def test_a_failed_backup_leaves_nothing_behind(source: NativeSource, tmp_path: Path) -> None:
    class Broken(NativeSource):
        def fetch_influx(self, target: Path) -> None:
            raise BackupError("influxd backup failed: connection refused")

    broken = object.__new__(Broken)
    broken.__dict__.update(source.__dict__)

    with pytest.raises(BackupError, match="connection refused"):
        create(broken, tmp_path / "backups", _silent)

    assert list((tmp_path / "backups").iterdir()) == []


def test_remains_of_a_killed_backup_are_removed_by_the_next_one(
    source: NativeSource, tmp_path: Path
) -> None:
    killed = tmp_path / ".unfinished-squeezeflow-20200101T000000Z"
    killed.mkdir()
    (killed / "half").write_text("half")

    moment = datetime.now(UTC)
    folder, _ = create(source, tmp_path, _silent, now=moment)

    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert folder.name == f"squeezeflow-{moment:%Y%m%dT%H%M%SZ}"
    assert folder.stat().st_mode & 0o077 == 0
