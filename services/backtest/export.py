"""A result as JSON and CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from services.backtest.errors import BacktestError
from services.backtest.result import BacktestResult
from services.influx_signal_manager import BREAKDOWN, iso


def to_json(result: BacktestResult) -> bytes:
    """Indented JSON; numbers that are not finite do not occur."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1)


def write_json(result: BacktestResult, path: Path) -> None:
    """Raises `BacktestError` if the file cannot be written."""
    _write(path, to_json(result))


def write_csv(result: BacktestResult, folder: Path) -> list[Path]:
    """`signals.csv`, `trades.csv` and `equity.csv`. Raises `BacktestError`."""
    tables: dict[str, list[dict[str, Any]]] = {
        "signals": [_flat(row, ("ts_ms",)) for row in result.signals],
        "trades": [_flat(row, ("entry_ms", "exit_ms")) for row in result.trades],
        "equity": [
            {"t": t, "time": iso(t * 1000), "equity": equity, "drawdown": drawdown}
            for t, equity, drawdown in zip(
                result.curve.t, result.curve.equity, result.curve.drawdown, strict=True
            )
        ],
    }
    paths = []
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_table(path, rows)
        except OSError as error:
            raise BacktestError(f"{path}: {error.strerror or error}") from error
        paths.append(path)
    return paths


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data + b"\n")
    except OSError as error:
        raise BacktestError(f"{path}: {error.strerror or error}") from error


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if not rows:
            return
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _flat(row: msgspec.Struct, times: tuple[str, ...]) -> dict[str, Any]:
    """One cell a value: times also as text, the breakdown in columns of its own."""
    values: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(row).items():
        if name == "breakdown":
            values |= {part: value.get(part) for part in BREAKDOWN}
            continue
        values[name] = value if not isinstance(value, float) or math.isfinite(value) else None
        if name in times:
            values[name.removesuffix("_ms").replace("ts", "time")] = iso(value)
    return values
