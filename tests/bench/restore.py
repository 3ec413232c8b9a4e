"""Backup and restore of hours of bars: bytes per second, and what 10 GB would take at that rate."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scripts.backup import influx
from scripts.backup.create import create
from scripts.backup.manifest import Manifest
from scripts.backup.native import NativeSource, NativeTarget
from scripts.backup.restore import Options, restore
from tests.integration.operations import stack as native
from tests.integration.servers import programs

MARKETS = 200
HOURS = 4.0
TEN_GB = 10 * 2**30
SECONDS_A_WRITE = 20


def run() -> dict[str, Any]:
    """One-second bars of 200 markets that trade each second, backed up and restored natively.

    `stored_bytes`: of the database on disk; `backup_bytes`: of the backup; `restore_s`: checksums
    and comparison included, by the clock, `restore_cpu_s`: of all processors; `rto_10_gb_...`: the
    same for a database of 10 GB, if it takes as long per byte. BENCH_HOURS: how many to write.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures, _ = measure(Path(folder), float(os.environ.get("BENCH_HOURS") or HOURS))
    return figures


def measure(folder: Path, hours: float) -> tuple[dict[str, Any], Path]:
    """The figures, and the backup they are of, below `folder`."""
    running = native.start(folder / "stack")
    try:
        points = fill(running.source, hours)
        began = time.monotonic()
        backup, contents = create(running.source, folder / "backups", native.silent)
        backup_s = time.monotonic() - began
        stored = influx.stored_bytes(running.source.influx, native.DATABASE)
    finally:
        running.stop()
    restore_s, cpu_s = _restored(backup, folder / "restored")
    figures = {
        "points": points,
        "values": sum(sum(fields.values()) for fields in contents.counts.values()),
        "stored_bytes": stored,
        "backup_bytes": _size(contents),
        "backup_s": round(backup_s, 1),
        "restore_s": round(restore_s, 1),
        "restore_cpu_s": round(cpu_s, 1),
        "restore_mb_per_s": round(stored / 2**20 / restore_s, 1),
        "rto_10_gb_s": round(TEN_GB / stored * restore_s),
        "rto_10_gb_cpu_s": round(TEN_GB / stored * cpu_s),
    }
    return figures, backup


def fill(source: NativeSource, hours: float) -> int:
    """Write bars, the newest as old as no continuous query looks; return how many."""
    policy = f'"aggr_1s" ON "{native.DATABASE}"'
    source.influx(f"ALTER RETENTION POLICY {policy} DURATION 30d")
    seconds = int(hours * 3600)
    start = int(time.time()) - 20 * 3600 - seconds
    chance = np.random.default_rng(1)
    prices = chance.uniform(1, 50_000, MARKETS)
    for first in range(start, start + seconds, SECONDS_A_WRITE):
        lines = []
        for second in range(first, first + SECONDS_A_WRITE):
            prices *= 1 + chance.normal(0, 2e-4, MARKETS)
            lines.extend(_bars(second, prices, chance))
        source._influx.write("\n".join(lines).encode(), native.DATABASE, "aggr_1s")
    return MARKETS * (seconds // SECONDS_A_WRITE) * SECONDS_A_WRITE


def _bars(second: int, prices: np.ndarray[Any, Any], chance: np.random.Generator) -> list[str]:
    moves = 1 + np.abs(chance.normal(0, 1e-4, (2, MARKETS)))
    volumes = chance.lognormal(8, 2, (2, MARKETS))
    counts = chance.poisson(5, (2, MARKETS))
    closes = prices * (1 + chance.normal(0, 1e-4, MARKETS))
    return [
        f"trades_1s,market=VENUE:m{n} open={prices[n]:.2f},high={prices[n] * moves[0, n]:.2f},"
        f"low={prices[n] / moves[1, n]:.2f},close={closes[n]:.2f},vbuy={volumes[0, n]:.4f},"
        f"vsell={volumes[1, n]:.4f},cbuy={counts[0, n]}i,csell={counts[1, n]}i,lbuy=0,lsell=0 "
        f"{second}000000000"
        for n in range(MARKETS)
    ]


def _restored(backup: Path, folder: Path) -> tuple[float, float]:
    target = NativeTarget(folder, folder / "freqtrade", programs())
    began, cpu_s = time.monotonic(), _cpu_s()
    restore(backup, target, native.silent, Options(processors=os.cpu_count() or 1))
    return time.monotonic() - began, _cpu_s() - cpu_s


def _cpu_s() -> float:
    """Of this process, and of the servers that it has started and seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _size(contents: Manifest) -> int:
    return sum(size for size, _ in contents.files.values())
