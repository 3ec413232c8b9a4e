"""A backup of real servers restored into empty ones holds the same; a bad one is refused."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.backup import create as creating
from scripts.backup import influx, shelf
from scripts.backup.create import Options, create
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Days
from scripts.backup.native import NativeSource, NativeTarget
from scripts.backup.offsite import OffsiteError
from scripts.backup.restore import Options as RestoreOptions
from scripts.backup.restore import restore
from scripts.backup.seal import ITERATIONS, Key
from tests.integration.operations.stack import (
    DATABASE,
    KEY,
    PASSWORD,
    SECONDS,
    TRADES,
    Stack,
    silent,
)
from tests.integration.servers import ROOT, RedisServer, programs

END = "2262-01-01T00:00:00Z"


def _trades(folder: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(folder / "tradesv3.sqlite") as database:
        rows = database.execute("SELECT id, enter_tag FROM trades ORDER BY id").fetchall()
    database.close()
    return rows


def _sum(days: Days, measurement: str, field: str) -> float:
    return sum(fields[field][1] or 0.0 for fields in days[measurement].values())


@pytest.mark.parametrize("lines", [False, True], ids=["portable", "lines"])
def test_b1_counts_sums_and_trades_are_equal_after_everything_was_lost(
    source: NativeSource, backup: Path, target: NativeTarget, tmp_path: Path, lines: bool
) -> None:
    contents = restore(backup, target, silent, RestoreOptions(lines=lines))

    target.open()
    try:
        after = influx.days(target.influx, DATABASE, END)
        assert after == influx.days(source.influx, DATABASE, END) == contents.days
        assert contents.counts["aggr_1s.trades_1s"]["vbuy"] == 2 * SECONDS
        expected = 2 * sum(second + 0.25 for second in range(SECONDS))
        assert _sum(after, "aggr_1s.trades_1s", "vbuy") == expected
        assert len(after["30_days.open_interest"]) == 4
        for statement in (
            f'SELECT signal_id FROM "{DATABASE}"."30_days"."strategy_signals"',
            f'SHOW TAG VALUES ON "{DATABASE}" WITH KEY = "market"',
        ):
            there = influx.series(target.influx(statement))
            assert there
            assert there == influx.series(source.influx(statement))
        assert {*influx.policies(target.influx, DATABASE)} == {
            *influx.policies(source.influx, DATABASE)
        }
        assert target.redis("DBSIZE") == source.redis("DBSIZE") == "501"
        assert contents.redis_keys == 500
        assert target.redis("GET", "squeezeflow:executed:499") == "499"
    finally:
        target.close()
    restored = tmp_path / "data" / "freqtrade"
    assert _trades(restored) == [(n + 1, f"signal-{n}") for n in range(TRADES)]
    assert (restored / "notes.json").exists()
    assert not (restored / "logs").exists()
    spool = tmp_path / "data" / "aggr-server" / "spool" / "000001.log"
    assert spool.read_bytes() == b"a bar"


def test_b1_a_restore_that_holds_another_sum_is_not_called_complete(
    source: NativeSource, backup: Path, target: NativeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = target.put_influx

    def one_value_is_wrong(files: Path, database: str) -> None:
        put(files, database)
        time_ns, value = influx.series(
            source.influx_ns(f'SELECT first("open_interest") FROM "{database}"..open_interest')
        )[0]["values"][0]
        point = f"open_interest,symbol=BTCUSDT open_interest={value + 1} {time_ns}"
        target._influx.write(point.encode(), database, "30_days")

    monkeypatch.setattr(target, "put_influx", one_value_is_wrong)
    monkeypatch.setattr("scripts.backup.restore.SETTLE_S", 5.0)

    with pytest.raises(BackupError, match=r"open_interest has 1 values with the sum 9 instead of"):
        restore(backup, target, silent)


def test_b2_a_backup_killed_half_way_leaves_the_one_before_and_no_half_one(
    stack: Stack, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    before, _ = create(stack.source, folder, silent)
    files = {path: path.read_bytes() for path in before.rglob("*") if path.is_file()}
    time.sleep(1.01)  # names are by the second

    process = subprocess.Popen(
        [sys.executable, "-c", HANGS_WHILE_COPYING, str(stack.root), str(folder)],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}", **stack.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()

    assert [path for _, path in shelf.complete(folder)] == [before]
    assert {path: path.read_bytes() for path in files} == files
    [half] = folder.glob(".unfinished-*")
    assert any(half.rglob("dump.rdb.gz"))
    after, _ = create(stack.source, folder, silent)
    assert {path.name for path in folder.iterdir()} == {before.name, after.name}


HANGS_WHILE_COPYING = """
import os, sys, time
from pathlib import Path
from scripts.backup.create import create
from scripts.backup.native import NativeSource

class Slow(NativeSource):
    def fetch_influx(self, target):
        target.mkdir()
        (target / "half").write_text("half")
        print("half way", flush=True)
        time.sleep(600)

create(Slow(Path(sys.argv[1]), os.environ, "influxd"), Path(sys.argv[2]), lambda _: None)
"""


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda b: _flip(b / "redis" / "dump.rdb.gz"), "dump.rdb.gz: contents have changed"),
        (lambda b: next(b.glob("influxdb/*.meta")).unlink(), ".meta: missing"),
        (lambda b: (b / "freqtrade" / "user_data.tar.gz").write_bytes(b"x"), "1 bytes instead of"),
        (lambda b: (b / "influxdb" / "more").write_text("x"), "more: does not belong to it"),
        (lambda b: (b / "manifest.json").unlink(), "not a complete backup"),
        (lambda b: (b / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda b: (b / "manifest.json").write_text('{"format": 1}'), "has format 1"),
    ],
    ids=["changed", "missing", "short", "foreign", "half", "manifest", "format"],
)
def test_b3_a_bad_backup_is_refused_with_the_reason_before_anything_is_touched(
    backup: Path,
    target: NativeTarget,
    tmp_path: Path,
    damage: Callable[[Path], object],
    reason: str,
) -> None:
    copy = tmp_path / backup.name
    shutil.copytree(backup, copy)
    damage(copy)

    with pytest.raises(BackupError) as raised:
        restore(copy, target, silent)

    assert reason in str(raised.value)
    assert not (tmp_path / "data").exists()


def test_b3_an_encrypted_backup_restores_with_its_key_only(
    source: NativeSource, target: NativeTarget, tmp_path: Path
) -> None:
    key, other = Key.of(KEY, "a test"), Key.of(KEY[::-1], "a test")
    (tmp_path / "secrets").mkdir()
    for name in ("influx_password", "exchange_key", "page_password"):
        (tmp_path / "secrets" / name).write_text("hidden")
    options = Options(key=key, settings=(tmp_path / "secrets",))
    folder, contents = create(source, tmp_path / "backups", silent, options)
    assert all(name.endswith(".enc") for name in contents.files)

    with pytest.raises(BackupError, match="is encrypted"):
        restore(folder, target, silent)
    with pytest.raises(BackupError, match="not made with this key"):
        restore(folder, target, silent, RestoreOptions(key=other))
    assert not (tmp_path / "data").exists()

    (tmp_path / "project" / "secrets").mkdir(parents=True)
    (tmp_path / "project" / "secrets" / "exchange_key").write_text("\n")
    (tmp_path / "project" / "secrets" / "page_password").write_text("kept")
    asked = RestoreOptions(key=key, settings=tmp_path / "project")
    restore(folder, WithSettings(target, tmp_path / "project" / "secrets"), silent, asked)
    assert (tmp_path / "project" / "secrets" / "page_password").read_text() == "kept"


class WithSettings(NativeTarget):
    """Data of servers that are told by settings and secrets where it is and what to ask for."""

    def __init__(self, target: NativeTarget, secrets: Path) -> None:
        vars(self).update(vars(target))
        self._secrets = secrets

    def open(self) -> None:
        for name in ("influx_password", "exchange_key"):
            assert (self._secrets / name).read_text() == "hidden"
        super().open()


def test_b3_a_changed_manifest_of_an_encrypted_backup_is_refused(
    source: NativeSource, target: NativeTarget, tmp_path: Path
) -> None:
    key = Key.of(KEY, "a test")
    folder, _ = create(source, tmp_path / "backups", silent, Options(key=key))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"redis_keys": 500', '"redis_keys": 501'))

    with pytest.raises(BackupError, match="its manifest has been changed"):
        restore(folder, target, silent, RestoreOptions(key=key))


def test_an_encrypted_file_opens_with_openssl_alone(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text").write_text("hello")
    (tmp_path / "key").write_text(f"{KEY}\n")
    Key.read(tmp_path / "key").encrypt(tmp_path / "files")
    assert not (tmp_path / "files" / "text").exists()

    cipher = ["-aes-256-ctr", "-pbkdf2", "-iter", str(ITERATIONS), "-md", "sha256"]
    given = ["-in", str(tmp_path / "files" / "text.enc")]
    done = subprocess.run(
        ["openssl", "enc", "-d", *cipher, "-pass", f"file:{tmp_path / 'key'}", *given],
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == "hello"


def test_data_that_is_there_is_kept_unless_its_replacement_is_asked_for(
    backup: Path, target: NativeTarget
) -> None:
    restore(backup, target, silent)

    with pytest.raises(BackupError, match=r"not empty: 501 keys in Redis, 3 measurements"):
        restore(backup, target, silent)
    restore(backup, target, silent, RestoreOptions(replace=True))


def test_b1_keys_that_have_ended_since_are_no_loss(stack: Stack, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", PASSWORD)
    redis.start()
    try:
        source = NativeSource(
            stack.root, stack.environ | {"REDIS_PORT": str(redis.port)}, programs().influxd
        )
        source.redis("SET", "squeezeflow:heartbeat:x", "1", "PX", "1")
        _, contents = create(source, tmp_path / "backups", silent)
    finally:
        redis.stop()
    assert contents.redis_keys == 0


def test_a_failed_backup_leaves_nothing_behind(stack: Stack, tmp_path: Path) -> None:
    class Broken(NativeSource):
        def fetch_influx(self, target: Path) -> None:
            raise BackupError("influxd backup failed: connection refused")

    broken = Broken(stack.root, stack.environ, "influxd")
    with pytest.raises(BackupError, match="connection refused"):
        create(broken, tmp_path / "backups", silent)

    assert list((tmp_path / "backups").iterdir()) == []


def test_no_backup_is_begun_without_room_for_it(
    source: NativeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(shelf, "SPARE_BYTES", free)

    with pytest.raises(BackupError, match=r"the backup takes about [\d,]+ .* Make room"):
        create(source, tmp_path / "backups", silent)

    assert list((tmp_path / "backups").iterdir()) == []


def test_the_room_a_backup_takes_is_not_underestimated(source: NativeSource, backup: Path) -> None:
    size = sum(path.stat().st_size for path in backup.rglob("*") if path.is_file())

    estimate = creating.estimate(source, Options(lines=True))

    assert size <= estimate + shelf.SPARE_BYTES
    assert estimate >= int(influx.stored_bytes(source.influx, DATABASE)) > 0


def test_two_backups_into_one_folder_do_not_meet(source: NativeSource, tmp_path: Path) -> None:
    with (
        shelf.reserved(tmp_path),
        pytest.raises(BackupError, match="is under way"),
    ):
        create(source, tmp_path, silent)


def test_a_command_is_given_the_finished_backup(source: NativeSource, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = f"cp -r -t {elsewhere}"

    folder, _ = create(source, tmp_path / "b", silent, Options(offsite_command=command))

    assert (elsewhere / folder.name / "manifest.json").exists()


def test_a_backup_that_could_not_be_handed_on_is_kept_and_named(
    source: NativeSource, tmp_path: Path
) -> None:
    command = "sh -c 'echo no route; exit 7'"

    with pytest.raises(OffsiteError, match="status 7: no route") as raised:
        create(source, tmp_path, silent, Options(offsite_command=command))

    assert [path for _, path in shelf.complete(tmp_path)] == [raised.value.backup]


def test_only_the_newest_are_kept(source: NativeSource, tmp_path: Path) -> None:
    for day in (1, 2, 3):
        (tmp_path / shelf.name(datetime(2020, 1, day, tzinfo=UTC))).mkdir()

    moment = datetime.now(UTC)
    folder, _ = create(source, tmp_path, silent, Options(keep=2), now=moment)

    assert [path.name for _, path in shelf.complete(tmp_path)] == [
        "squeezeflow-20200103T000000Z",
        folder.name,
    ]
    assert folder.name == f"squeezeflow-{moment:%Y%m%dT%H%M%SZ}"
    assert folder.stat().st_mode & 0o077 == 0
