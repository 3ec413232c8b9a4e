"""Bars out of InfluxDB, as charts ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aggr_server.influx import InfluxClient, Row
from aggr_server.points import BARS
from aggr_server.wire import TIMEFRAMES, Bar, Timeframe

COLUMNS = (
    *("time", "cbuy", "close", "csell", "high", "lbuy", "low", "lsell"),
    *("market", "open", "vbuy", "vsell"),
)
Values = list[int | float | str | None]

_AGGREGATE = (
    "SELECT sum(cbuy) AS cbuy, last(close) AS close, sum(csell) AS csell, max(high) AS high, "
    "sum(lbuy) AS lbuy, min(low) AS low, sum(lsell) AS lsell, first(open) AS open, "
    "sum(vbuy) AS vbuy, sum(vsell) AS vsell"
)


class History:
    """Stored bars, the newest of them computed where no continuous query has run yet."""

    def __init__(self, influx: InfluxClient) -> None:
        self._influx = influx

    async def fetch(
        self,
        timeframe: Timeframe,
        from_ms: int,
        to_ms: int,
        markets: Sequence[str],
        now_ms: int,
        recent: Iterable[Bar] = (),
    ) -> list[Values]:
        """Bars of [from_ms, to_ms) in `COLUMNS`, by time and market; time in UTC seconds.

        No `markets` means all. `recent`: closed one-second bars that may not be stored yet.
        Raises `InfluxError`, `InfluxUnavailable`.
        """
        stored = (
            f'SELECT * FROM "{timeframe.retention_policy}"."{timeframe.measurement}" '
            f"WHERE {_where(from_ms, to_ms, markets)}"
        )
        rows = {(r["time"], r["market"]): _values(r) for r in await self._influx.query(stored)}
        if timeframe is BARS:
            for bar in recent:
                rows[bar.time, bar.market] = [getattr(bar, name) for name in COLUMNS]
        else:
            length_ms = timeframe.seconds * 1000
            young_ms = max(from_ms, (now_ms // length_ms - 1) * length_ms)
            if to_ms > young_ms:
                for row in await self._young(timeframe, young_ms, to_ms, markets):
                    rows[row["time"], row["market"]] = _values(row)
        return [rows[key] for key in sorted(rows)]

    async def _young(
        self, timeframe: Timeframe, from_ms: int, to_ms: int, markets: Sequence[str]
    ) -> list[Row]:
        length_ms = timeframe.seconds * 1000
        from_ms = -(-from_ms // length_ms) * length_ms
        to_ms = -(-to_ms // length_ms) * length_ms
        return await self._influx.query(
            f'{_AGGREGATE} FROM "{BARS.retention_policy}"."{BARS.measurement}" '
            f"WHERE {_where(from_ms, to_ms, markets)} "
            f"GROUP BY time({timeframe.label}), market fill(none)"
        )


def timeframe_of(length_ms: int) -> Timeframe | None:
    """The timeframe of that length, if bars of it are stored."""
    return next((t for t in TIMEFRAMES if t.seconds * 1000 == length_ms), None)


def _where(from_ms: int, to_ms: int, markets: Sequence[str]) -> str:
    text = f"time >= {from_ms}ms AND time < {to_ms}ms"
    if markets:
        text += " AND (" + " OR ".join(f"market = {_quoted(m)}" for m in markets) + ")"
    return text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _values(row: Row) -> Values:
    return [row.get(name) for name in COLUMNS]
