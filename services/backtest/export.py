"""A result as JSON and CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from services.backtest.errors import BacktestError
from services.backtest.result import BacktestResult, Curve, SignalRow, TradeRow
from services.influx_signal_manager import BREAKDOWN, iso

_TIMES = {"ts_ms": "time", "entry_ms": "entry_time", "exit_ms": "exit_time"}


def to_json(result: BacktestResult) -> bytes:
    """Indented JSON; numbers that are not finite do not occur."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1)


def write_json(result: BacktestResult, path: Path) -> None:
    """Raises `BacktestError` if the file cannot be written."""
    _write(path, to_json(result))


def write_csv(result: BacktestResult, folder: Path) -> list[Path]:
    """`signals.csv`, `trades.csv` and `equity.csv`. Raises `BacktestError`."""
    tables: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
        "signals": (_names(SignalRow), [_flat(row) for row in result.signals]),
        "trades": (_names(TradeRow), [_flat(row) for row in result.trades]),
        "equity": (["t", "time", "equity", "drawdown"], _equity(result.curve)),
    }
    paths = []
    for name, (columns, rows) in tables.items():
        path = folder / f"{name}.csv"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_table(path, columns, rows)
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


def _write_table(path: Path, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _equity(curve: Curve) -> list[dict[str, Any]]:
    rows = zip(curve.t, curve.equity, curve.drawdown, strict=True)
    return [
        {"t": t, "time": iso(t * 1000), "equity": equity, "drawdown": drawdown}
        for t, equity, drawdown in rows
    ]


def _names(kind: type[msgspec.Struct]) -> list[str]:
    names: list[str] = []
    for field in msgspec.structs.fields(kind):
        if field.name == "breakdown":
            names += BREAKDOWN
        else:
            names += [field.name, *([_TIMES[field.name]] if field.name in _TIMES else [])]
    return names


def _flat(row: msgspec.Struct) -> dict[str, Any]:
    """One cell a value: times also as text, the breakdown in columns of its own."""
    values: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(row).items():
        if name == "breakdown":
            values |= {part: value.get(part) for part in BREAKDOWN}
            continue
        values[name] = value
        if name in _TIMES:
            values[_TIMES[name]] = iso(value)
    return values
