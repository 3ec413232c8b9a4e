"""Stored one-second bars in files: CSV, or InfluxDB line protocol of `trades_1s`."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from aggr_server import recordings
from aggr_server.recordings import RecordingError
from aggr_server.wire import TIMEFRAMES, Market
from services.backtest.errors import BacktestError
from services.backtest.sources.table import Progress, Table, part_of, silent
from services.backtest.sources.tape import SecondBars

NEEDED = ("time", "market", "open", "high", "low", "close", "vbuy", "vsell")
HEADER = "time,market,open,high,low,close,vbuy,vsell,cbuy,csell,lbuy,lsell"
EARLIEST_S = 10**8
LATEST_S = 10**11

_VALUES = NEEDED[2:]
_MEASUREMENT = TIMEFRAMES[0].measurement
_LINE = re.compile(rf"^{_MEASUREMENT},(?P<tags>\S+) (?P<fields>\S+) (?P<time>\d+)$")

Row = tuple[int, str, tuple[float, ...]]
"""time (UTC s), market, (open, high, low, close, vbuy, vsell)."""


def load(
    paths: Sequence[Path], bases: Collection[str], progress: Progress = silent
) -> tuple[list[SecondBars], list[str]]:
    """Bars of the markets of `bases`, and what should be known about the files.

    The last of several bars of one market and second wins; a second without volume is no bar.
    Raises `BacktestError`.
    """
    book = _Book(frozenset(bases))
    notes = []
    for i, path in enumerate(paths):
        if text := _read(path, book, part_of(progress, i, len(paths))):
            notes.append(text)
    if book.others:
        names = ", ".join(sorted(book.others))
        notes.append(f"markets of other symbols left out: {names}")
    return book.bars(), notes


class _Book:
    def __init__(self, bases: frozenset[str]) -> None:
        self._bases = bases
        self._markets: dict[str, Market | None] = {}
        self._times: dict[Market, array[int]] = {}
        self._values: dict[Market, array[float]] = {}
        self.others: set[str] = set()

    def add(self, row: Row) -> None:
        """Keep a bar of one of the symbols. Raises `BacktestError` for an unknown exchange."""
        t, name, values = row
        if name not in self._markets:
            self._markets[name] = self._market(name)
        market = self._markets[name]
        if market is None or values[4] + values[5] <= 0.0:
            return
        self._times.setdefault(market, array("q")).append(t)
        self._values.setdefault(market, array("d")).extend(values)

    def bars(self) -> list[SecondBars]:
        return [_bars(market, times, self._values[market]) for market, times in self._times.items()]

    def _market(self, name: str) -> Market | None:
        try:
            adapter, instrument = recordings.market_named(name)
        except RecordingError as error:
            raise BacktestError(
                f"market {name!r}: {str(error).removeprefix('--market ')}"
            ) from error
        if instrument.base not in self._bases:
            self.others.add(name)
            return None
        return Market(name, adapter.name, instrument.base, instrument.quote, instrument.kind)


def _bars(market: Market, times: array[int], values: array[float]) -> SecondBars:
    t = np.frombuffer(times, np.int64)
    # Of equal times the last one in the file is the first one in the reversed order.
    unique, at = np.unique(t[::-1], return_index=True)
    table = np.frombuffer(values, np.float64).reshape(-1, 6)[::-1][at]
    open_, high, low, close, buy, sell = (np.ascontiguousarray(column) for column in table.T)
    return SecondBars(market, unique, open_, high, low, close, buy, sell)


def _read(path: Path, book: _Book, progress: Progress) -> str:
    with Table(path, progress) as table:
        if table.header.startswith(_MEASUREMENT):
            parse: Callable[[str], Row] = _parse_line
            _take(table, 1, table.header, parse, book)
        else:
            parse = _csv_parser(table.columns(NEEDED))
        for number, line in table.rest():
            _take(table, number, line, parse, book)
        return table.flaws.text()


def _take(table: Table, number: int, line: str, parse: Callable[[str], Row], book: _Book) -> None:
    try:
        row = parse(line)
        _check(row)
    except (ValueError, IndexError, KeyError) as error:
        table.flaws.add(number, str(error) or "too few columns")
        return
    book.add(row)


def _csv_parser(at: Mapping[str, int]) -> Callable[[str], Row]:
    time, market = at["time"], at["market"]
    values = [at[name] for name in _VALUES]
    last = max(at.values())

    def parse(line: str) -> Row:
        cells = line.split(",")
        if len(cells) <= last:
            raise ValueError(f"{len(cells)} columns, {last + 1} are needed")
        return int(cells[time]), cells[market], tuple(float(cells[i]) for i in values)

    return parse


def _parse_line(line: str) -> Row:
    found = _LINE.match(line)
    if found is None:
        raise ValueError(f"no line of {_MEASUREMENT}")
    tags = dict(tag.split("=", 1) for tag in found["tags"].split(","))
    fields = dict(pair.split("=", 1) for pair in found["fields"].split(","))
    if "close" not in fields:  # liquidations alone
        values = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    else:
        values = tuple(float(fields.get(name, "0").rstrip("i")) for name in _VALUES)  # type: ignore[assignment]
    return _seconds(int(found["time"])), tags["market"], values


def _seconds(stamp: int) -> int:
    """A time of line protocol in s, ms, us or ns, told apart by its size."""
    while stamp > LATEST_S:
        stamp //= 1000
    return stamp


def _check(row: Row) -> None:
    t, _, (open_, high, low, close, buy, sell) = row
    if not EARLIEST_S <= t <= LATEST_S:
        raise ValueError(f"time {t} is no UTC second")
    if not all(map(math.isfinite, row[2])) or buy < 0.0 or sell < 0.0:
        raise ValueError("a value is negative or not finite")
    if not 0.0 < low <= min(open_, close) <= max(open_, close) <= high:
        raise ValueError(f"prices {open_}, {high}, {low}, {close} do not fit together")
