"""What InfluxDB remembers of the markets, read in pieces."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aggr_server.influx import InfluxClient, Row, gap_of
from aggr_server.wire import (
    FORCED_ORDERS_ONLY,
    GAPS_MEASUREMENT,
    TIMEFRAMES,
    Bar,
    Gap,
    Market,
    Timeframe,
)
from services.core.names import OI_MEASUREMENT
from services.market.symbols import symbol_of
from services.strategy.types import Minute

CHUNK_S = 600
"""One query: short enough that neither InfluxDB nor the reader does nothing else for long."""
OI_STALE_S = 1800
OI_KNOWN_AFTER_S = 10
"""The longest that a venue, oi-tracker and Redis together may take to bring a sample."""

_ONE_SECOND, _ONE_MINUTE = TIMEFRAMES[0], TIMEFRAMES[1]
_FIELDS = ("open", "high", "low", "close", "vbuy", "vsell", "cbuy", "csell", "lbuy", "lsell")

Flows = dict[int, tuple[float, float]]
"""Second at which a minute starts -> taker buy and sell volume, quote USD."""

Ohlc = tuple[float, float, float, float]


@dataclass(slots=True)
class MinuteTable:
    """Minutes by the second at which they start; one without trades is not in it.

    `prices`: of the reference market. `flows`: class -> sums over its markets.
    """

    prices: dict[int, Ohlc] = field(default_factory=dict)
    flows: Mapping[str, Flows] = field(default_factory=lambda: {"spot": {}, "perp": {}})

    @property
    def known(self) -> set[int]:
        """Minutes of which anything is stored."""
        return {*self.prices, *self.flows["spot"], *self.flows["perp"]}

    def axis(self, to_s: int) -> list[Minute]:
        """Gap-free from the first price on, up to the last whole minute before `to_s`."""
        return list(_axis(self.prices, self.flows["spot"], self.flows["perp"], to_s))

    def update(self, other: MinuteTable) -> None:
        """Take over all of `other`, which replaces what is known of the same minutes."""
        self.prices.update(other.prices)
        for kind, flows in other.flows.items():
            self.flows[kind].update(flows)


class OpenInterestSeries:
    """Open interest in base coins per exchange, as it was known at any second.

    A sample counts from `OI_KNOWN_AFTER_S` after it was taken, when it has certainly come: so a
    second means the same to whoever lives through it and to whoever reads it later.
    """

    def __init__(self) -> None:
        self._times: dict[str, list[int]] = {}
        self._coins: dict[str, list[float]] = {}
        self._known: dict[str, float] = {}
        self._known_in = range(0)

    def add(self, exchange: str, t: int, coins: float) -> None:
        """Add a sample taken at second `t`; those of one exchange come in order of time."""
        if not (math.isfinite(coins) and coins > 0):
            return
        times = self._times.setdefault(exchange, [])
        if times and t <= times[-1]:
            return
        times.append(t)
        self._coins.setdefault(exchange, []).append(coins)
        self._known_in = range(0)

    def extend(self, later: OpenInterestSeries) -> None:
        """Add those samples of `later` that are newer than one's own."""
        for exchange, times in later._times.items():
            for t, coins in zip(times, later._coins[exchange], strict=True):
                self.add(exchange, t, coins)

    def at(self, t: int) -> Mapping[str, float]:
        """exchange -> newest sample that counts at `t` and is at most 30 minutes old."""
        if t not in self._known_in:
            self._look_up(t)
        return self._known

    def _look_up(self, t: int) -> None:
        self._known = {}
        end = t + OI_STALE_S
        for exchange, times in self._times.items():
            i = bisect_right(times, t - OI_KNOWN_AFTER_S) - 1
            if i + 1 < len(times):
                end = min(end, times[i + 1] + OI_KNOWN_AFTER_S)
            if i >= 0 and t - times[i] <= OI_STALE_S:
                self._known[exchange] = self._coins[exchange][i]
                end = min(end, times[i] + OI_STALE_S + 1)
        self._known_in = range(t, end)

    def forget_before(self, t: int) -> None:
        """Drop samples that no later `at` can return."""
        for exchange, times in self._times.items():
            i = bisect_right(times, t - OI_STALE_S) - 1
            if i > 0:
                del times[:i], self._coins[exchange][:i]


class History:
    """Queries on stored bars. All raise `InfluxError` and `InfluxUnavailable`."""

    def __init__(self, influx: InfluxClient) -> None:
        self._influx = influx

    async def seconds(
        self, markets: Sequence[Market], from_s: int, to_s: int
    ) -> dict[int, dict[str, Bar]]:
        """second -> market -> bar for [from_s, to_s)."""
        found: dict[int, dict[str, Bar]] = {}
        for bar in await self.bars(markets, from_s, to_s):
            found.setdefault(bar.time, {})[bar.market] = bar
        return found

    async def bars(self, markets: Sequence[Market], from_s: int, to_s: int) -> list[Bar]:
        """The one-second bars of [from_s, to_s), whole."""
        bars: list[Bar] = []
        if not markets:
            return bars
        fields = ", ".join(f'"{name}"' for name in _FIELDS)
        for start, end in _chunks(from_s, to_s):
            rows = await self._influx.query(
                f"SELECT {fields} FROM {_source(_ONE_SECOND)} "
                f'WHERE {within(start, end)} AND {any_of(markets)} GROUP BY "market"'
            )
            bars.extend(bar for row in rows if (bar := _bar(row)) is not None)
        return bars

    async def minutes(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> list[Minute]:
        """One-minute bars of [from_s, to_s), gap-free from the first price on.

        Taken from the roll-ups; where these are thinner than the one-second bars they are made
        of, from the one-second bars.
        """
        return (await self.table(markets, reference, from_s, to_s)).axis(to_s)

    async def table(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> MinuteTable:
        """What `minutes` is made of, with its holes."""
        rolled = await self._table(_ONE_MINUTE, markets, reference, from_s, to_s)
        found = len(rolled.axis(to_s))
        if found >= 0.95 * (to_s - from_s) / 60:
            return rolled
        direct = await self._table(_ONE_SECOND, markets, reference, from_s, to_s)
        return direct if len(direct.axis(to_s)) >= found else rolled

    async def newest_table(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> MinuteTable:
        """The same from the one-second bars alone, which are there before the roll-ups."""
        return await self._table(_ONE_SECOND, markets, reference, from_s, to_s)

    async def volumes(self, markets: Sequence[Market], from_s: int, to_s: int) -> dict[str, float]:
        """market -> traded volume in [from_s, to_s), quote USD."""
        totals: dict[str, float] = {}
        for timeframe in (_ONE_MINUTE, _ONE_SECOND):
            if totals or not markets:
                break
            rows = await self._influx.query(
                f"SELECT sum(vbuy) AS buy, sum(vsell) AS sell FROM {_source(timeframe)} "
                f'WHERE {within(from_s, to_s)} AND {any_of(markets)} GROUP BY "market"'
            )
            totals = {row["market"]: (row["buy"] or 0.0) + (row["sell"] or 0.0) for row in rows}
        return totals

    async def deltas(self, markets: Sequence[Market], from_s: int, to_s: int) -> dict[str, float]:
        """class -> taker buy minus taker sell volume in [from_s, to_s), quote USD.

        Seconds that are no longer stored one by one are taken from the one-minute roll-ups.
        """
        first = await self._first_second(markets, from_s, to_s)
        kept_whole = first is None or first < from_s + 60
        edge = from_s if first is None or kept_whole else min(to_s, -(-first // 60) * 60)
        found: dict[str, float] = {}
        for kind in ("spot", "perp"):
            chosen = [m for m in markets if m.kind == kind]
            old = await self._delta(_ONE_MINUTE, chosen, from_s, edge)
            found[kind] = old + await self._delta(_ONE_SECOND, chosen, edge, to_s)
        return found

    async def oldest_second(self, markets: Sequence[Market]) -> int | None:
        """The first second of which anything is stored, None if there is none."""
        return await self._first_second(markets, 0, 1 << 33)

    async def gaps(self, markets: Sequence[Market], from_s: int, to_s: int) -> list[Gap]:
        """Recorded gaps of trades that reach into [from_s, to_s), begun in the 24 hours before."""
        recorded = await self.gap_records(markets, from_s - 86_400, to_s)
        return [gap for gap in recorded if gap.to_s > from_s]

    async def gap_records(self, markets: Sequence[Market], from_s: int, to_s: int) -> list[Gap]:
        """Newest record of each gap of trades begun in [from_s, to_s), also of those filled since.

        A gap whose `to_s` equals its `from_s` is no more.
        """
        rows = await self._influx.query(
            f'SELECT "from_s", "to_s" FROM "{GAPS_MEASUREMENT}" '
            f'WHERE {within(from_s, to_s)} GROUP BY "market", "reason"'
        )
        wanted = {m.market for m in markets}
        return [
            gap_of(row)
            for row in rows
            if row["market"] in wanted and row["reason"] != FORCED_ORDERS_ONLY
        ]

    async def open_interest(self, base: str, from_s: int, to_s: int) -> OpenInterestSeries:
        """Samples of [from_s, to_s), from half an hour before so that its start is covered."""
        series = OpenInterestSeries()
        names = " OR ".join(f"\"symbol\" = '{name}'" for name in (base, symbol_of(base)))
        rows = await self._influx.query(
            f'SELECT "coins" FROM "{OI_MEASUREMENT}" WHERE '
            f"{within(from_s - OI_STALE_S, to_s)} AND ({names}) "
            'AND "aggregate_type" = \'exchange\' GROUP BY "exchange"'
        )
        for row in rows:
            if row.get("exchange") and row["coins"] is not None:
                series.add(row["exchange"], int(row["time"]), float(row["coins"]))
        return series

    async def _table(
        self,
        timeframe: Timeframe,
        markets: Sequence[Market],
        reference: Market,
        from_s: int,
        to_s: int,
    ) -> MinuteTable:
        where = f"FROM {_source(timeframe)} WHERE {within(from_s, to_s)}"
        flows: dict[str, Flows] = {}
        for kind in ("spot", "perp"):
            chosen = [m for m in markets if m.kind == kind]
            rows = await self._grouped(f"SELECT sum(vbuy), sum(vsell) {where}", chosen)
            flows[kind] = {int(r["time"]): (r["sum"] or 0.0, r["sum_1"] or 0.0) for r in rows}
        prices = await self._grouped(
            f"SELECT first(open) AS open, max(high) AS high, min(low) AS low, "
            f"last(close) AS close {where}",
            [reference],
        )
        known = {int(r["time"]): ohlc for r in prices if (ohlc := _ohlc(r)) is not None}
        return MinuteTable(known, flows)

    async def _grouped(self, select: str, markets: Sequence[Market]) -> list[Row]:
        if not markets:
            return []
        text = f"{select} AND {any_of(markets)} GROUP BY time(1m) fill(none)"
        return await self._influx.query(text)

    async def _delta(
        self, timeframe: Timeframe, markets: Sequence[Market], from_s: int, to_s: int
    ) -> float:
        if not markets or from_s >= to_s:
            return 0.0
        rows = await self._influx.query(
            f"SELECT sum(vbuy) AS buy, sum(vsell) AS sell FROM {_source(timeframe)} "
            f"WHERE {within(from_s, to_s)} AND {any_of(markets)}"
        )
        return sum((row["buy"] or 0.0) - (row["sell"] or 0.0) for row in rows)

    async def _first_second(self, markets: Sequence[Market], from_s: int, to_s: int) -> int | None:
        if not markets:
            return None
        rows = await self._influx.query(
            f"SELECT first(close) AS close FROM {_source(_ONE_SECOND)} "
            f"WHERE {within(from_s, to_s)} AND {any_of(markets)}"
        )
        return int(rows[0]["time"]) if rows else None


def _axis(prices: dict[int, Ohlc], spot: Flows, perp: Flows, to_s: int) -> Iterator[Minute]:
    if not prices:
        return
    close = 0.0
    for t in range(min(prices), to_s - to_s % 60, 60):
        spot_buy, spot_sell = spot.get(t, (0.0, 0.0))
        perp_buy, perp_sell = perp.get(t, (0.0, 0.0))
        ohlc = prices.get(t) or (close, close, close, close)
        close = ohlc[3]
        yield Minute(
            t,
            spot_buy - spot_sell,
            perp_buy - perp_sell,
            spot_buy + spot_sell,
            perp_buy + perp_sell,
            *ohlc,
        )


def _ohlc(row: Row) -> Ohlc | None:
    o, h, low, c = row["open"], row["high"], row["low"], row["close"]
    if not c or o is None or h is None or low is None:  # None: it is being written.
        return None
    return float(o), float(h), float(low), float(c)


def _bar(row: Row) -> Bar | None:
    values = [row[name] for name in _FIELDS]
    if None in values[:6]:  # Forced orders alone have no price; others are just being written.
        return None
    numbers: list[Any] = [0.0 if v is None else v for v in values]
    return Bar(int(row["time"]), row["market"], *numbers)


def _chunks(from_s: int, to_s: int) -> Iterable[tuple[int, int]]:
    return ((start, min(start + CHUNK_S, to_s)) for start in range(from_s, to_s, CHUNK_S))


def _source(timeframe: Timeframe) -> str:
    return f'"{timeframe.retention_policy}"."{timeframe.measurement}"'


def within(from_s: int, to_s: int) -> str:
    """A condition on `time`: seconds [from_s, to_s)."""
    return f"time >= {from_s}s AND time < {to_s}s"


def any_of(markets: Sequence[Market]) -> str:
    """A condition on the tag `market`."""
    names = (m.market.replace("\\", "\\\\").replace("'", "\\'") for m in markets)
    return "(" + " OR ".join(f"\"market\" = '{name}'" for name in names) + ")"
