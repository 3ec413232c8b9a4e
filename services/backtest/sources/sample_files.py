"""Open interest and funding in files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from services.backtest.errors import BacktestError
from services.backtest.sources.table import Table
from services.backtest.sources.tape import FundingSample
from services.market.history import OpenInterestSeries


def by_base(option: str, texts: Sequence[str], bases: Sequence[str]) -> dict[str, list[Path]]:
    """`BASE=FILE`, or `FILE` where there is one symbol only. Raises `BacktestError`."""
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, given, path = text.partition("=")
        if given and name.upper() in bases:
            found.setdefault(name.upper(), []).append(Path(path))
        elif len(bases) == 1:
            found.setdefault(bases[0], []).append(Path(text))
        else:
            raise BacktestError(
                f"{option} {text}: which of {', '.join(bases)}? Write {option} {bases[0]}=FILE"
            )
    return found


def open_interest(paths: Sequence[Path]) -> tuple[OpenInterestSeries, int, list[str]]:
    """Columns `ts_ms,exchange,coins`: the series, the number of samples, notes."""
    series, notes = OpenInterestSeries(), []
    samples: list[tuple[int, str, float]] = []
    for path in paths:
        with Table(path) as table:
            for number, (ts, exchange, coins) in _cells(table, ("ts_ms", "exchange", "coins")):
                try:
                    samples.append((int(ts) // 1000, exchange.upper(), _positive(coins)))
                except ValueError as error:
                    table.flaws.add(number, str(error))
            if text := table.flaws.text():
                notes.append(text)
    for t, exchange, coins_ in sorted(samples):
        series.add(exchange, t, coins_)
    return series, len(samples), notes


def funding(paths: Sequence[Path]) -> tuple[tuple[FundingSample, ...], list[str]]:
    """Columns `ts_ms,rate`, in order of time, and notes."""
    found: dict[int, float] = {}
    notes = []
    for path in paths:
        with Table(path) as table:
            for number, (ts, rate) in _cells(table, ("ts_ms", "rate")):
                try:
                    value = float(rate)
                    if not -0.1 < value < 0.1:
                        raise ValueError(f"rate {rate} is no fraction of the notional")
                    found[int(ts)] = value
                except ValueError as error:
                    table.flaws.add(number, str(error))
            if text := table.flaws.text():
                notes.append(text)
    return tuple(FundingSample(t, rate) for t, rate in sorted(found.items())), notes


def _cells(table: Table, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    at: Mapping[str, int] = table.columns(names)
    for number, line in table.rest():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) <= max(at.values()):
            table.flaws.add(number, f"{len(cells)} columns, {max(at.values()) + 1} are needed")
        else:
            yield number, [cells[at[name]] for name in names]


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{text} is not above 0")
    return value
