"""Recorded trades in files: `ts_ms,price,size_base,side,trade_id`, gzip or plain."""

from __future__ import annotations

import csv
import gzip
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from aggr_server import exchanges
from aggr_server.exchanges.base import Adapter, Instrument

COLUMNS = ("ts_ms", "price", "size_base", "side", "trade_id")


class RecordedTrade(NamedTuple):
    """A trade of the market number `file`, counted from 0."""

    ts_ms: int
    file: int
    price: float
    size_base: float
    is_buy: bool
    id: str


class RecordingError(ValueError):
    """A file or its market cannot be used; the text says why and what to do."""


def market_of(path: Path) -> tuple[Adapter, Instrument]:
    """The market a file name tells, `EXCHANGE_SYMBOL_...csv.gz`. Raises `RecordingError`."""
    stem = path.name.partition(".")[0]
    best: tuple[int, Adapter] | None = None
    for adapter in exchanges.known().values():
        for prefix in (adapter.name, *adapter.aliases, *adapter.recordings):
            if stem.startswith(prefix + "_") and (best is None or len(prefix) > best[0]):
                best = len(prefix), adapter
    if best is None:
        raise RecordingError(
            f"{path}: the file name does not tell the market; give --market EXCHANGE:symbol"
        )
    length, adapter = best
    symbol = stem[length + 1 :].partition("_")[0]
    return adapter, adapter.assume(adapter.wire_symbol(symbol))


def market_named(text: str) -> tuple[Adapter, Instrument]:
    """The market `EXCHANGE:symbol`. Raises `RecordingError`."""
    exchange, _, symbol = text.partition(":")
    if not symbol:
        raise RecordingError(f"--market {text}: write EXCHANGE:symbol")
    try:
        adapter = exchanges.get(exchange)
    except exchanges.UnknownExchange as error:
        raise RecordingError(f"--market {text}: {error}") from error
    return adapter, adapter.assume(adapter.wire_symbol(symbol))


def merged(paths: Iterable[Path]) -> Iterator[RecordedTrade]:
    """The trades of all files in order of time. Raises `RecordingError`."""
    return heapq.merge(*(_trades(path, number) for number, path in enumerate(paths)))


def _trades(path: Path, number: int) -> Iterator[RecordedTrade]:
    try:
        with _open(path) as lines:
            reader = csv.DictReader(lines)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise RecordingError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in reader:
                yield _trade(row, number)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path}, line {reader.line_num}: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _trade(row: dict[str, str], number: int) -> RecordedTrade:
    if row["side"] not in ("buy", "sell"):
        raise ValueError(f"side {row['side']!r} is neither buy nor sell")
    return RecordedTrade(
        int(row["ts_ms"]),
        number,
        float(row["price"]),
        float(row["size_base"]),
        row["side"] == "buy",
        row["trade_id"],
    )
