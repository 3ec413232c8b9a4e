"""B1, B3: a machine that lost everything trades on from its backup, with nothing missing."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from aggr_server import wire
from scripts.backup import seal
from scripts.backup.container import ContainerTarget
from scripts.stack.compose import docker
from scripts.stack.evidence import Evidence
from services.core import names
from tests.stack.machine import Machine, until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(2400)]

LOAD = "10"
"""The most that the simulated exchanges can be told to trade, in multiples of the usual."""
DATABASE = "significant_trades"
SETTLED_S = 180
"""What is older does not change any more: late trades, refreshed outcomes, the rolling up."""
LONGEST_S = 40 * 86_400
TRADED_WITHIN_S = 480.0
RECOVERED_WITHIN_S = 300.0
BARS = {timeframe.measurement: timeframe.seconds for timeframe in wire.TIMEFRAMES}

Days = dict[tuple[str, str, str], tuple[int, float | None]]
"""(policy and measurement, day, field) -> number of values and their sum."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "clone", ("docker-compose.demo.yml",), SIMULATOR_LOAD=LOAD)
    yield made
    made.remove()


def days(evidence: Evidence, now_s: int) -> Days:
    """Everything that had settled by then, asked independently of what makes the backup."""
    found: Days = {}
    for policy in (row["name"] for row in evidence.influx("SHOW RETENTION POLICIES")):
        for measurement in (row["name"] for row in evidence.influx("SHOW MEASUREMENTS")):
            step = BARS.get(measurement, 1)
            end = (now_s - SETTLED_S) // step * step
            rows = evidence.influx(
                f'SELECT count(*), sum(*) FROM "{policy}"."{measurement}" '
                f"WHERE time >= {now_s - LONGEST_S}s AND time < {end}s GROUP BY time(1d) fill(none)"
            )
            for row in rows:
                day = datetime.fromtimestamp(row["time"] / 1000, UTC).date().isoformat()
                for name in (name for name in row if name.startswith("count_")):
                    field = name.removeprefix("count_")
                    key = (f"{policy}.{measurement}", day, field)
                    found[key] = (row[name], row.get(f"sum_{field}"))
    return found


def changed(one: Days, other: Days) -> set[tuple[str, str, str]]:
    return {key for key in one.keys() | other if not _same(one.get(key), other.get(key))}


def _same(one: tuple[int, float | None] | None, other: tuple[int, float | None] | None) -> bool:
    if one is None or other is None:
        return False
    (number, total), (same_number, same_total) = one, other
    if total is None or same_total is None:
        return one == other
    return number == same_number and math.isclose(total, same_total, rel_tol=1e-9, abs_tol=1e-9)


def rows_of(archive: Path, folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of freqtrade's trades and orders in an archive of its folder."""
    folder.mkdir()
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    [path] = folder.glob("*.sqlite")
    with sqlite3.connect(path) as database:
        tables = ("trades", "orders")
        found = {t: database.execute(f"SELECT * FROM {t} ORDER BY id").fetchall() for t in tables}
    database.close()
    return found


def trades(evidence: Evidence) -> dict[str, tuple[Any, ...]]:
    """freqtrade's trades by their signal: what cannot change any more."""
    return {
        signal_id: (trade["trade_id"], trade["pair"], trade["open_timestamp"])
        for signal_id, trade in evidence.story().opened.items()
    }


def spoil(backup: Path, folder: Path) -> list[tuple[Path, str]]:
    """A corrupted copy of a backup, one that lacks a file, and half a one; why each is bad."""
    spoiled = []
    for kind in ("corrupted", "short", "half"):
        spoiled.append(folder / kind / backup.name)
        shutil.copytree(backup, spoiled[-1])
    [data, *_] = sorted(spoiled[0].glob("influxdb/*.tar.gz*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    [meta] = spoiled[1].glob("influxdb/*.meta*")
    meta.unlink()
    (spoiled[2] / "manifest.json").unlink()
    reasons = (f"{data.name}: contents have changed", f"{meta.name}: missing", "not a complete")
    return list(zip(spoiled, reasons, strict=True))


def made_since(moment_s: float) -> str:
    """Containers that were made since then."""
    span = ("--since", f"{moment_s:.3f}", "--until", f"{time():.3f}")
    return docker("events", *span, "--filter", "event=create", "--filter", "type=container")


def traded(machine: Machine) -> Evidence:
    """Started, and at least one signal is a trade."""
    machine.script("up.sh", "--docker")
    evidence = machine.evidence()
    until(lambda: bool(evidence.story().opened), TRADED_WITHIN_S)
    return evidence


def test_b1_a_machine_that_lost_everything_trades_on_with_nothing_missing(
    machine: Machine, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4 + "\n")
    (machine.root / "secrets").mkdir(mode=0o700)
    shutil.copy(key, machine.root / "secrets" / "backup_key")
    evidence = traded(machine)

    before_trades, now_s = trades(evidence), int(time())
    before = days(evidence, now_s)
    began = monotonic()
    backup = Path(machine.script("backup_volumes.sh", str(tmp_path / "backups")).strip())
    backup_s = monotonic() - began
    unsettled = changed(before, days(evidence, now_s))
    measured = evidence.simulator("status")
    audit = evidence.audit()

    machine.script("down.sh")
    for bad, reason in spoil(backup, tmp_path):
        moment = time()
        said = machine.script("restore_volumes.sh", str(bad), "--replace", ends_with=1)
        assert reason in said
        assert made_since(moment) == ""
    docker("volume", "rm", *machine.volumes())
    assert machine.volumes() == []
    shutil.rmtree(machine.root / "secrets")
    (machine.root / ".env").unlink()

    began = monotonic()
    machine.script("restore_volumes.sh", str(backup), "--key-file", str(key), "--settings")
    restore_s = monotonic() - began
    restored, rows = looked_into(machine, tmp_path, now_s)
    began = monotonic()
    machine.script("up.sh", "--docker")
    rto_s = restore_s + monotonic() - began

    missing = changed(before, restored) - unsettled
    assert missing == set()
    assert {measurement for measurement, _, _ in unsettled} <= {
        f"30_days.{names.SIGNALS_MEASUREMENT}",
        *(f"aggr_{t.label}.{t.measurement}" for t in wire.TIMEFRAMES[1:]),
    }
    opened = seal.opened(backup, encrypted=True, key=seal.Key.read(key), scratch=tmp_path)
    assert rows == rows_of(opened / "freqtrade" / "user_data.tar.gz", tmp_path / "saved")
    assert before_trades
    assert before_trades.items() <= trades(evidence).items()
    # What came in between the backup and the loss is fetched from the exchanges again.
    until(
        lambda: not (now := evidence.audit()).mismatched and now.compared > audit.compared,
        RECOVERED_WITHIN_S,
        lambda: evidence.audit().mismatches,
    )
    manifest = json.loads((backup / "manifest.json").read_text())
    size = sum(size for size, _ in manifest["files"].values())
    print(
        f"load {LOAD}: {measured['trades_sent']} trades sent, worst lag "
        f"{measured['worst_lag_ms']} ms; backup {size / 2**20:.1f} MB in {backup_s:.0f} s; "
        f"{len(before)} counts and sums compared, {len(unsettled)} unsettled; restored in "
        f"{restore_s:.0f} s, all healthy (RTO) after {rto_s:.0f} s; {len(before_trades)} trades, "
        f"{audit.compared} bars before, {evidence.audit().compared} after"
    )


def looked_into(
    machine: Machine, folder: Path, now_s: int
) -> tuple[Days, dict[str, list[tuple[Any, ...]]]]:
    """What the restored volumes hold before anything works with them."""
    target = ContainerTarget(machine.project)
    archive = folder / "restored.tar.gz"
    with archive.open("wb") as file:
        target._freqtrade("pack", stdout=file)
    target.open()
    try:
        return days(machine.evidence(), now_s), rows_of(archive, folder / "restored")
    finally:
        target.close()
