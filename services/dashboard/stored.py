"""Reads what InfluxDB has of the bars, summed over the markets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aggr_server.influx import InfluxClient, Row
from aggr_server.wire import TIMEFRAMES, Market, Timeframe
from services.core.names import OI_MEASUREMENT
from services.dashboard.ring import Floats, empty
from services.dashboard.symbol import Stored
from services.dashboard.venues import SECONDS, Venue
from services.market.history import any_of, within
from services.market.symbols import symbol_of

_ONE_SECOND = TIMEFRAMES[0]
_BY_STEP = {timeframe.seconds: timeframe for timeframe in TIMEFRAMES}
KINDS = ("spot", "perp")
PIECE_S = 1800
TOTAL = "FUTURES_AGG"
"""Exchange under which oi-tracker stores the sum over venues."""


class StoredBars:
    """Queries on the bars of a symbol. All raise `InfluxError` and `InfluxUnavailable`."""

    def __init__(self, influx: InfluxClient) -> None:
        self._influx = influx

    async def seconds(
        self, markets: Sequence[Market], reference: str, from_s: int, to_s: int
    ) -> Stored:
        """[from_s, to_s) second by second, read in pieces; `from_s` must begin a minute."""
        minutes: dict[int, dict[Venue, tuple[float, float]]] = {}
        seconds: dict[int, dict[Venue, tuple[float, float]]] = {}
        parts: list[Floats] = []
        seconds_from = max(from_s, to_s - SECONDS)
        venue_of = {m.market: (m.exchange, str(m.kind)) for m in markets}
        for start in range(from_s, to_s, PIECE_S):
            end = min(start + PIECE_S, to_s)
            parts.append(await self.bars(_ONE_SECOND, 1, markets, reference, start, end))
            rows = await self._by_market(markets, start, end, 60)
            _add(minutes, rows, venue_of)
        if seconds_from < to_s:
            rows = await self._by_market(markets, seconds_from, to_s, 1)
            _add(seconds, rows, venue_of)
        columns = np.concatenate(parts, axis=1) if parts else empty(0)
        return Stored(from_s, to_s, columns, minutes, seconds, seconds_from)

    async def bars(
        self,
        source: Timeframe,
        step: int,
        markets: Sequence[Market],
        reference: str,
        from_s: int,
        to_s: int,
    ) -> Floats:
        """Columns of the bars of `step` seconds that begin in [from_s, to_s), from `source`'s.

        `from_s` must begin a bar; rows as in `ring.ROWS`.
        """
        columns = empty(-(-(to_s - from_s) // step))
        where = f"FROM {_place(source)} WHERE {within(from_s, to_s)}"
        for row, kind in enumerate(KINDS):
            chosen = [m for m in markets if m.kind == kind]
            if not chosen:
                continue
            found = await self._influx.query(
                f"SELECT sum(vbuy) AS buy, sum(vsell) AS sell, sum(lbuy) AS lbuy, "
                f"sum(lsell) AS lsell {where} AND {any_of(chosen)} "
                f"GROUP BY time({step}s) fill(none)"
            )
            for one in found:
                i = (int(one["time"]) - from_s) // step
                buy, sell = one["buy"] or 0.0, one["sell"] or 0.0
                columns[4 + row, i] = buy - sell
                columns[6 + row, i] = buy + sell
                columns[8, i] += one["lbuy"] or 0.0
                columns[9, i] += one["lsell"] or 0.0
        chosen = [m for m in markets if m.market == reference]
        if chosen:
            prices = await self._influx.query(
                f"SELECT first(open) AS open, max(high) AS high, min(low) AS low, "
                f"last(close) AS close {where} AND {any_of(chosen)} "
                f"GROUP BY time({step}s) fill(none)"
            )
            for one in prices:
                if one["close"]:
                    i = (int(one["time"]) - from_s) // step
                    columns[:4, i] = one["open"], one["high"], one["low"], one["close"]
        return columns

    async def oldest(self, source: Timeframe, markets: Sequence[Market]) -> int | None:
        """First second of the oldest bar in `source`, None if there is none."""
        if not markets:
            return None
        rows = await self._influx.query(
            f"SELECT first(close) FROM {_place(source)} WHERE {any_of(markets)}"
        )
        return int(rows[0]["time"]) if rows else None

    async def open_interest(
        self, base: str, from_s: int, to_s: int, step: int
    ) -> tuple[list[int], list[float]]:
        """Times and coins of the sum over venues: each sample, of longer bars than a minute the
        last one of each bar, at the bar's beginning."""
        where = (
            f'FROM "{OI_MEASUREMENT}" WHERE {within(from_s, to_s)} '
            f"AND \"symbol\" = '{symbol_of(base)}' AND \"exchange\" = '{TOTAL}'"
        )
        if step <= 60:
            rows = await self._influx.query(f'SELECT "coins" {where}')
        else:
            rows = await self._influx.query(
                f'SELECT last("coins") AS "coins" {where} GROUP BY time({step}s) fill(none)'
            )
        known = [row for row in rows if row["coins"] is not None]
        return [int(row["time"]) for row in known], [float(row["coins"]) for row in known]

    async def _by_market(
        self, markets: Sequence[Market], from_s: int, to_s: int, step: int
    ) -> list[Row]:
        if not markets:
            return []
        return await self._influx.query(
            f"SELECT sum(vbuy) AS buy, sum(vsell) AS sell FROM {_place(_ONE_SECOND)} "
            f"WHERE {within(from_s, to_s)} AND {any_of(markets)} "
            f'GROUP BY time({step}s), "market" fill(none)'
        )


def timeframe(step: int) -> Timeframe:
    """Where bars of `step` seconds are stored. Raises `KeyError` if they are not."""
    return _BY_STEP[step]


def _add(
    into: dict[int, dict[Venue, tuple[float, float]]],
    rows: Sequence[Row],
    venue_of: dict[str, Venue],
) -> None:
    for row in rows:
        venue = venue_of[row["market"]]
        volumes = into.setdefault(int(row["time"]), {})
        buy, sell = volumes.get(venue, (0.0, 0.0))
        volumes[venue] = buy + (row["buy"] or 0.0), sell + (row["sell"] or 0.0)


def _place(source: Timeframe) -> str:
    return f'"{source.retention_policy}"."{source.measurement}"'
