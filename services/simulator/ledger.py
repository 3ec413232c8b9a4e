"""Every trade that was ever made on the simulated venues, and the state that outlives the process.

One row per second, written before the first trade of that second is sent. A killed process loses
nothing: what it had written lies with the operating system, so no flush to the disk is waited for.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from services.simulator.instruments import Instrument, Trade

KEEP_S = 25 * 3600
"""How far back the ledger reaches; one-second bars are kept for 24 hours."""

_PRUNE_EVERY_S = 600
_TRADE = np.dtype(
    [("market", "u1"), ("flags", "u1"), ("ms", "<u2"), ("ticks", "<u8"), ("lots", "<u8"),
     ("id", "<u8")]
)  # fmt: skip
_BUY, _FORCED = 1, 2


class LedgerError(Exception):
    """The folder holds something else than this market's ledger."""


class Ledger:
    """The ledger of one market, in `folder`. Times are absolute UTC seconds."""

    def __init__(self, folder: Path, instruments: Sequence[Instrument]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._instruments = tuple(instruments)
        self._index = {i.market: n for n, i in enumerate(self._instruments)}
        self._db = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER)")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS seconds "
            "(second INTEGER PRIMARY KEY, trades BLOB NOT NULL, next_ids BLOB NOT NULL)"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS uncertain (second INTEGER PRIMARY KEY)")
        self._check_markets()

    def _check_markets(self) -> None:
        """Rows name markets by their number, which must mean the same as when they were written."""
        mark = zlib.crc32(",".join(self._index).encode())
        if self.get("markets") not in (None, mark):
            self.close()
            raise LedgerError(
                "the ledger in SIMULATOR_DIR was made for other SIMULATOR_VENUES. Set them as they "
                "were, or empty that folder."
            )
        self.put("markets", mark)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, name: str) -> int | None:
        """A number of the state, None if it was never set."""
        row = self._db.execute("SELECT value FROM state WHERE name=?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def put(self, name: str, value: int) -> None:
        """Set a number of the state."""
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def append(self, second: int, trades: Sequence[Trade], next_ids: Sequence[int]) -> None:
        """Record a second; `next_ids`: the id of each market's next trade after it."""
        rows = [
            (
                self._index[trade.instrument.market],
                _BUY * trade.buy + _FORCED * trade.liquidation,
                trade.ts_ms - second * 1000,
                trade.ticks,
                trade.lots,
                trade.id,
            )
            for trade in trades
        ]
        packed = np.array(rows, dtype=_TRADE)
        self._db.execute(
            "INSERT INTO seconds VALUES (?, ?, ?)",
            (second, packed.tobytes(), np.array(next_ids, dtype="<u8").tobytes()),
        )
        if second % _PRUNE_EVERY_S == 0:
            self._db.execute("DELETE FROM seconds WHERE second < ?", (second - KEEP_S,))
            self._db.execute("DELETE FROM uncertain WHERE second < ?", (second - KEEP_S,))

    def last(self) -> tuple[int, list[int]] | None:
        """The newest recorded second and the next ids after it."""
        row = self._db.execute(
            "SELECT second, next_ids FROM seconds ORDER BY second DESC LIMIT 1"
        ).fetchone()
        return None if row is None else (row[0], np.frombuffer(row[1], dtype="<u8").tolist())

    def mark_uncertain(self, start: int, end: int) -> None:
        """Of the seconds [start, end) it is not known what was sent."""
        self._db.executemany(
            "INSERT OR IGNORE INTO uncertain VALUES (?)", ((s,) for s in range(start, end))
        )

    def uncertain(self, start: int, end: int) -> list[int]:
        """The uncertain ones of the seconds [start, end)."""
        rows = self._db.execute(
            "SELECT second FROM uncertain WHERE second >= ? AND second < ? ORDER BY second",
            (start, end),
        )
        return [row[0] for row in rows]

    def trades(self, start: int, end: int, market: str | None = None) -> Iterator[Trade]:
        """Trades of the seconds [start, end) in the order they were made."""
        only = None if market is None else self._index[market]
        for second, blob in self._db.execute(
            "SELECT second, trades FROM seconds WHERE second >= ? AND second < ? ORDER BY second",
            (start, end),
        ):
            packed = np.frombuffer(blob, dtype=_TRADE)
            if only is not None:
                packed = packed[packed["market"] == only]
            for number, flags, ms, ticks, lots, trade_id in packed.tolist():
                yield Trade(
                    self._instruments[number], trade_id, second * 1000 + ms,
                    bool(flags & _BUY), ticks, lots, bool(flags & _FORCED),
                )  # fmt: skip

    def second_of(self, market: str, trade_id: int) -> int | None:
        """The second in which a market's trade was made, or the first kept one if it is older.

        None if there is no such trade yet.
        """
        number = self._index[market]
        edge = self._db.execute("SELECT min(second), max(second) FROM seconds").fetchone()
        low, high = edge
        if low is None or self._next_id(high, number) <= trade_id:
            return None
        while low < high:
            middle = (low + high) // 2
            if self._next_id(middle, number) > trade_id:
                high = middle
            else:
                low = middle + 1
        return int(low)

    def _next_id(self, second: int, number: int) -> int:
        row = self._db.execute(
            "SELECT next_ids FROM seconds WHERE second<=? ORDER BY second DESC LIMIT 1", (second,)
        ).fetchone()
        return int(np.frombuffer(row[0], dtype="<u8")[number])
