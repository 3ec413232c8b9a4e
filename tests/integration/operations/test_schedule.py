"""The service that makes a backup each day and tests one each week, as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import redis

from scripts.backup import influx, selftest, shelf
from scripts.backup.create import create
from scripts.backup.errors import BackupError
from services.core import names
from services.core.records import Alert
from services.monitor.measure import backup as measured
from tests.integration.children import bare
from tests.integration.operations.stack import DATABASE, PASSWORD, Stack, silent
from tests.integration.servers import ROOT, programs

WAIT_S = 60.0


@contextmanager
def _service(stack: Stack, folder: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        **stack.environ,
        **bare(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'aggr-server'}",
        "HEARTBEAT_DIR": str(folder.parent / "alive"),
        "BACKUP_DIR": str(folder),
        **settings,
    }
    with (folder.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.backup.service"], env=environ, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder.parent / "log").read_text()


def _alerts(stack: Stack) -> list[Alert]:
    with redis.Redis(port=stack.redis.port, password=PASSWORD) as bus:
        told = bus.lrange(names.ALERTS, 0, -1)
        bus.delete(names.ALERTS)
    assert isinstance(told, list)
    return [msgspec.json.decode(alert, type=Alert) for alert in reversed(told)]


def test_a_missed_backup_is_made_up_for_and_then_tested(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    missed = folder / shelf.name(datetime.now(UTC) - timedelta(days=3))
    missed.mkdir()
    soon = datetime.now(UTC) + timedelta(hours=1)  # today's is still to come: yesterday's is due

    with _service(stack, folder, BACKUP_AT=f"{soon:%H:%M}", BACKUP_TEST_DAYS="0"):
        deadline = time.monotonic() + WAIT_S
        while not (found := [path for _, path in shelf.complete(folder) if path != missed]):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)

    [made] = found
    begun_s = measured.newest_s(folder)
    assert begun_s is not None
    assert measured.of_newest(str(folder), begun_s, begun_s)[1].name == "backup_age_h"
    assert made.name == f"squeezeflow-{datetime.fromtimestamp(begun_s, UTC):%Y%m%dT%H%M%SZ}"
    assert _alerts(stack) == []


def test_a_backup_that_fails_is_told_as_an_alert(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    with _service(stack, folder, BACKUP_OFFSITE_COMMAND="false", BACKUP_TEST_DAYS="0"):
        deadline = time.monotonic() + WAIT_S
        while not (told := _alerts(stack)):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)

    [alert] = told
    assert (alert.level, alert.code) == ("warning", "backup_only_here")
    assert "BACKUP_OFFSITE_COMMAND ended with status 1" in alert.text
    assert len(shelf.complete(folder)) == 1
    [row] = influx.series(
        stack.source.influx(f'SELECT ok, status FROM "{DATABASE}"..{names.BACKUPS_MEASUREMENT}')
    )
    assert row["values"][-1][1:] == [True, 3]
    stack.source.influx(f"DROP MEASUREMENT {names.BACKUPS_MEASUREMENT}")


def test_b1_the_test_of_a_backup_keeps_what_it_found(stack: Stack, tmp_path: Path) -> None:
    backup, contents = create(stack.source, tmp_path, silent)

    result = selftest.test(backup, tmp_path, programs(), None, silent)

    assert result == selftest.last(tmp_path)
    assert (result.backup, result.problem) == (backup.name, "")
    assert result.values == sum(sum(fields.values()) for fields in contents.counts.values())
    assert {path.name for path in tmp_path.iterdir()} == {backup.name, selftest.RESULT}


def test_b1_the_test_finds_a_backup_that_lacks_what_its_manifest_says(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.backup.restore.SETTLE_S", 5.0)
    backup, _ = create(stack.source, tmp_path, silent)
    path = backup / "manifest.json"
    document = json.loads(path.read_text())
    days: dict[str, dict[str, list[float]]] = document["days"]["30_days.strategy_signals"]
    [day] = days
    days[day]["score"][1] = 8.5
    path.write_text(json.dumps(document))

    with pytest.raises(BackupError, match=r"score has 1 values with the sum 7\.5 instead of"):
        selftest.test(backup, tmp_path, programs(), None, silent)

    found = selftest.last(tmp_path)
    assert found is not None
    assert f"strategy_signals {day}: score" in found.problem
