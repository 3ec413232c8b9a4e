"""Recorded trades to exact one-second bars. Columns: `ts_ms,price,size_base,side,trade_id`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggr_server import recordings
from aggr_server.recordings import COLUMNS, RecordingError
from aggr_server.wire import Gap, Market
from services.backtest.errors import BacktestError
from services.backtest.sources.table import Flaws, Progress, Table, part_of, silent
from services.backtest.sources.tape import Floats, Ints, SecondBars

EARLIEST_MS = 10**11
"""A smaller time is no number of milliseconds of this century: seconds, most likely."""

LATEST_MS = 10**14
JUMPY = 0.05
"""Share of steps that are no +1 from which on ids are taken not to count trades."""

_ROW = np.dtype([("ts", "i8"), ("price", "f8"), ("size", "f8"), ("side", "U5"), ("id", "U40")])


class TradeFile(NamedTuple):
    """A file and the market whose trades it holds; `gapless`: ids count up by one."""

    path: Path
    market: Market
    gapless: bool


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of one market in order of time, then of the venue.

    `order`: the ids where all of them are numbers, else None.
    """

    ts_ms: Ints
    price: Floats
    size: Floats
    is_buy: NDArray[np.bool_]
    order: Ints | None
    duplicates: int = 0


def parse_spec(text: str) -> TradeFile:
    """`EXCHANGE:symbol=FILE`, or a file whose name tells the market. Raises `BacktestError`."""
    name, given, path = text.partition("=")
    named = bool(given) and ":" in name and "/" not in name
    file = Path(path if named else text)
    try:
        adapter, instrument = recordings.market_named(name) if named else recordings.market_of(file)
    except RecordingError as error:
        cause = str(error).replace("--market ", "")
        if not named:
            cause = f"{file}: the file name does not tell the market"
        raise BacktestError(f"{cause}; write --trades EXCHANGE:symbol=FILE") from error
    market = Market(
        adapter.market(instrument), adapter.name, instrument.base, instrument.quote, instrument.kind
    )
    return TradeFile(file, market, adapter.gapless)


def read(path: Path, progress: Progress = silent) -> tuple[NDArray[Any], Flaws]:
    """All usable rows of a file, as they stand in it. Raises `BacktestError`."""
    parts: list[NDArray[Any]] = []
    with Table(path, progress) as table:
        at = [table.columns(COLUMNS)[name] for name in COLUMNS]
        for first, lines in table.chunks():
            parts.append(_rows(lines, at, first, table.flaws))
        flaws = table.flaws
    return (np.concatenate(parts) if parts else np.empty(0, _ROW)), flaws


def ordered(rows: NDArray[Any]) -> Trades:
    """Sorted by time; a trade whose id came before is left out."""
    ids = rows["id"]
    order: Ints | None
    try:
        order = ids.astype(np.int64)
    except ValueError:
        order = None
    _, first = np.unique(ids if order is None else order, return_index=True)
    keep = np.zeros(len(rows), bool)
    keep[first] = True
    keep |= ids == ""
    duplicates = int(len(rows) - keep.sum())
    rows, order = rows[keep], None if order is None else order[keep]
    by = np.argsort(rows["ts"], kind="stable") if order is None else np.lexsort((order, rows["ts"]))
    rows = rows[by]
    return Trades(
        rows["ts"],
        rows["price"],
        rows["size"],
        rows["side"] == "buy",
        None if order is None else order[by],
        duplicates,
    )


def bars_of(market: Market, trades: Trades, *, gapless: bool = False) -> SecondBars:
    """Exact one-second bars; volumes are price times size, summed in order of time.

    `gapless`: a jump in the ids proves that trades are missing, which makes a gap.
    """
    seconds = trades.ts_ms // 1000
    starts = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1))
    ends = np.append(starts[1:], len(seconds))
    group = np.repeat(np.arange(len(starts)), ends - starts)
    notional = trades.price * trades.size

    def total(chosen: NDArray[np.bool_]) -> Floats:
        sums = np.bincount(group, np.where(chosen, notional, 0.0), len(starts))
        return np.asarray(sums, np.float64)

    return SecondBars(
        market,
        seconds[starts],
        trades.price[starts],
        np.maximum.reduceat(trades.price, starts),
        np.minimum.reduceat(trades.price, starts),
        trades.price[ends - 1],
        total(trades.is_buy),
        total(~trades.is_buy),
        _gaps(market, trades) if gapless else (),
    )


def load(
    files: Sequence[TradeFile], progress: Progress = silent
) -> tuple[list[SecondBars], list[str]]:
    """Bars of every market, and what should be known about the files. Raises `BacktestError`."""
    rows: dict[Market, list[NDArray[Any]]] = {}
    gapless = {file.market: file.gapless for file in files}
    notes: list[str] = []
    for i, file in enumerate(files):
        part, flaws = read(file.path, part_of(progress, i, len(files)))
        if text := flaws.text():
            notes.append(text)
        if not len(part):
            raise BacktestError(f"{file.path}: no usable trade in it")
        rows.setdefault(file.market, []).append(part)
    bars = []
    for market, parts in rows.items():
        trades = ordered(np.concatenate(parts))
        if trades.duplicates:
            notes.append(f"{market.market}: {trades.duplicates} trades with a known id left out")
        bars.append(bars_of(market, trades, gapless=gapless[market]))
        if found := bars[-1].gaps:
            lost_s = sum(gap.to_s - gap.from_s for gap in found)
            notes.append(
                f"{market.market}: ids jump {len(found)} times, {lost_s} s are treated as gaps"
            )
    return bars, notes


def _gaps(market: Market, trades: Trades) -> tuple[Gap, ...]:
    if trades.order is None:
        return ()
    jumps = np.flatnonzero(np.diff(trades.order) != 1)
    if len(jumps) > JUMPY * len(trades.order):
        return ()
    seconds = trades.ts_ms // 1000
    return tuple(
        Gap(market.market, int(seconds[i]), int(seconds[i + 1]) + 1, "recording") for i in jumps
    )


def _rows(lines: list[str], at: list[int], first: int, flaws: Flaws) -> NDArray[Any]:
    rows = _read_fast(lines, at)
    if rows is None or len(rows) != len(lines):
        return _read_slowly(lines, at, first, flaws)
    wrong = _wrong(rows)
    for i in np.flatnonzero(wrong):
        flaws.add(first + int(i), _cause(rows[i]))
    return rows[~wrong]


def _read_fast(lines: list[str], at: list[int]) -> NDArray[Any] | None:
    if not all(map(str.strip, lines)):
        return None
    try:
        rows: NDArray[Any] = np.loadtxt(
            lines, _ROW, delimiter=",", usecols=at, comments=None, ndmin=1
        )
    except (ValueError, OverflowError):
        return None
    return rows


def _read_slowly(lines: list[str], at: list[int], first: int, flaws: Flaws) -> NDArray[Any]:
    found = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split(",")
        try:
            ts, price, size, side, id_ = (cells[i].strip() for i in at)
            row = np.array([(int(ts), float(price), float(size), side, id_)], _ROW)
        except IndexError:
            flaws.add(number, f"{len(cells)} columns, {max(at) + 1} are needed")
            continue
        except (ValueError, OverflowError) as error:
            flaws.add(number, str(error))
            continue
        if _wrong(row)[0]:
            flaws.add(number, _cause(row[0]))
        else:
            found.append(row)
    return np.concatenate(found) if found else np.empty(0, _ROW)


def _wrong(rows: NDArray[Any]) -> NDArray[np.bool_]:
    usable = (rows["ts"] >= EARLIEST_MS) & (rows["ts"] <= LATEST_MS)
    for name in ("price", "size"):
        usable &= np.isfinite(rows[name]) & (rows[name] > 0.0)
    usable &= (rows["side"] == "buy") | (rows["side"] == "sell")
    wrong: NDArray[np.bool_] = ~usable
    return wrong


def _cause(row: Any) -> str:
    if not EARLIEST_MS <= row["ts"] <= LATEST_MS:
        return f"ts_ms {row['ts']} is no time in milliseconds"
    if row["side"] not in ("buy", "sell"):
        return f"side {str(row['side'])!r} is neither buy nor sell"
    return f"price {row['price']} or size {row['size']} is not above 0"
