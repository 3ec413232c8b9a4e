"""Minutes the collectors have not seen, from the venues' candles; kept apart and marked as such.

Only some markets have candles that tell taker buys from taker sells, so their flow is a part of
the class's. It is brought to the size of the whole by what both were in the first half hour after
the missing minutes: sum of absolute one-minute deltas of all markets over that of the markets with
candles, class by class. Until that half hour is known, filled minutes are not used at all.

What a collector has stored is never replaced, not even a minute it has seen only in part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from aggr_server.influx import InfluxClient
from aggr_server.wire import TIMEFRAMES, Market
from services.core import names, points
from services.market.history import Flows, History, MinuteTable, any_of, within
from services.market.klines import PAGE, Kline, Klines, serves

MINUTE_S = 60
OVERLAP_MIN = 30
"""Minutes after a run of missing ones in which both parts are compared."""

SHARE_MIN = 0.05
"""Markets with candles that carry less of a class's volume say too little about it."""

LONG_RUN_MIN = 30
"""A run this long ends the one-second window: nothing that spans it could be decided anyway."""

NEWEST_S = 900
"""Roll-ups of the last minutes may not have been made yet: these are read second by second."""

RUNS_NAMED = 5

RETENTION_POLICY = TIMEFRAMES[1].retention_policy
_CLASSES = ("spot", "perp")


class Run(NamedTuple):
    """Missing minutes that start in [from_s, to_s)."""

    from_s: int
    to_s: int

    @property
    def whole_from(self) -> int:
        """The first minute after it that is known from its first second on."""
        return self.to_s + MINUTE_S


class Ratio(NamedTuple):
    """All markets' flow as a multiple of that of the markets with candles."""

    delta: float
    volume: float


@dataclass(slots=True)
class Filled:
    """Minutes with their holes filled as far as possible.

    `minutes`: those that were filled. `known_at`: each of them -> the second from which it could be
    used. `whole_from`: one-second bars may be used from here on. `usable_at`: when the next run can
    be used, None if there is none. `problem`: why one cannot.
    """

    table: MinuteTable
    minutes: tuple[int, ...] = ()
    known_at: dict[int, int] = field(default_factory=dict)
    whole_from: int = 0
    usable_at: int | None = None
    problem: str = ""


def runs_of(missing: Iterable[int]) -> list[Run]:
    """Neighbouring minutes put together, oldest first."""
    found: list[Run] = []
    for t in sorted(missing):
        if found and found[-1].to_s == t:
            found[-1] = Run(found[-1].from_s, t + MINUTE_S)
        else:
            found.append(Run(t, t + MINUTE_S))
    return found


def spans_text(minutes: Iterable[int]) -> str:
    """`2026-11-20 10:05 to 2026-11-20 11:40` and so on, the newest few; the times are UTC."""
    runs = runs_of(minutes)
    spans = [f"{_clock(run.from_s)} to {_clock(run.to_s)}" for run in runs[-RUNS_NAMED:]]
    if len(runs) > RUNS_NAMED:
        spans.insert(0, f"{len(runs) - RUNS_NAMED} earlier spans")
    return ", ".join(spans)


def _clock(t: int) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")


def ratios(whole: MinuteTable, part: MinuteTable, minutes: Sequence[int]) -> dict[str, Ratio] | str:
    """Class -> ratio over `minutes`, or why there is none."""
    found: dict[str, Ratio] = {}
    for kind in _CLASSES:
        delta, volume = _sizes(whole.flows[kind], minutes)
        own_delta, own_volume = _sizes(part.flows[kind], minutes)
        if own_delta <= 0.0 or own_volume < SHARE_MIN * volume:
            return f"markets with candles carry too little of the {kind} flow"
        found[kind] = Ratio(delta / own_delta, volume / own_volume)
    return found


def _sizes(flows: Flows, minutes: Sequence[int]) -> tuple[float, float]:
    known = [flows[t] for t in minutes if t in flows]
    return sum(abs(buy - sell) for buy, sell in known), sum(buy + sell for buy, sell in known)


def enlarged(flow: tuple[float, float], ratio: Ratio) -> tuple[float, float]:
    """Buy and sell volume whose difference and sum are those of `flow`, times the ratio's."""
    buy, sell = flow
    delta, volume = (buy - sell) * ratio.delta, (buy + sell) * ratio.volume
    return (volume + delta) / 2, (volume - delta) / 2


@dataclass(slots=True)
class Parts:
    """What `fill` works on.

    `exact`: all markets, as stored by collectors. `own`: the markets with candles alone, as stored
    by collectors. `candles`: the same markets, from their candles; prices of one perpetual.
    """

    exact: MinuteTable
    own: MinuteTable = field(default_factory=MinuteTable)
    candles: MinuteTable = field(default_factory=MinuteTable)


def fill(parts: Parts, from_s: int, to_s: int) -> Filled:
    """The minutes of [from_s, to_s), both multiples of 60, with their holes filled."""
    exact = parts.exact
    result = Filled(MinuteTable(), whole_from=from_s)
    result.table.update(exact)
    known = exact.known
    filled: list[int] = []
    for run in runs_of(t for t in range(from_s, to_s, MINUTE_S) if t not in known):
        after = [t for t in range(run.whole_from, to_s, MINUTE_S) if t in known][:OVERLAP_MIN]
        if len(after) < OVERLAP_MIN:
            ready = run.whole_from + MINUTE_S * OVERLAP_MIN + 1
            if run.to_s < to_s and run.to_s - run.from_s >= MINUTE_S * LONG_RUN_MIN:
                result.usable_at = ready
            continue
        ratio = ratios(exact, parts.own, after)
        if isinstance(ratio, str):
            result.problem = ratio
            continue
        splice = _splice(exact, parts.own, after)
        added = [t for t in range(*run, MINUTE_S) if _take(result.table, parts, t, ratio, splice)]
        filled += added
        result.known_at |= dict.fromkeys(added, after[-1] + MINUTE_S)
        if len(added) >= LONG_RUN_MIN:
            result.whole_from = run.whole_from
    result.minutes = tuple(filled)
    return result


def _splice(exact: MinuteTable, own: MinuteTable, minutes: Sequence[int]) -> float:
    """Reference price as a multiple of the price that the candles have, at their first meeting."""
    both = (t for t in minutes if t in exact.prices and t in own.prices)
    t = next(both, None)
    return 1.0 if t is None else exact.prices[t][3] / own.prices[t][3]


def _take(
    table: MinuteTable, parts: Parts, t: int, ratio: Mapping[str, Ratio], splice: float
) -> bool:
    prices = parts.candles.prices.get(t)
    flows = {kind: parts.candles.flows[kind].get(t) for kind in _CLASSES}
    if prices is None or None in flows.values():
        return False
    o, h, low, c = (splice * p for p in prices)
    table.prices[t] = (o, h, low, c)
    for kind, flow in flows.items():
        assert flow is not None
        table.flows[kind][t] = enlarged(flow, ratio[kind])
    return True


class FilledHistory:
    """Reads stored minutes and fills their holes from stored candles.

    Raises `InfluxError` and `InfluxUnavailable`.
    """

    def __init__(self, influx: InfluxClient, history: History) -> None:
        self._influx = influx
        self._history = history

    async def minutes(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> Filled:
        """The minutes of [from_s, to_s) as far as collectors or candles know them."""
        parts = Parts(await self._exact(markets, reference, from_s, to_s))
        chosen = [m for m in markets if serves(m)]
        lead = leading(chosen, reference)
        if lead is not None and any(m.kind == "spot" for m in chosen):
            parts.own = await self._exact(chosen, lead, from_s, to_s)
            parts.candles = await self._candles(chosen, lead, from_s, to_s)
        return fill(parts, from_s, to_s)

    async def _exact(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> MinuteTable:
        newest = max(from_s, to_s - NEWEST_S)
        table = await self._history.table(markets, reference, from_s, to_s)
        table.update(await self._history.newest_table(markets, reference, newest, to_s))
        return table

    async def _candles(
        self, markets: Sequence[Market], lead: Market, from_s: int, to_s: int
    ) -> MinuteTable:
        stored = await self._stored(markets, from_s, to_s)
        table = MinuteTable()
        table.prices = {
            t: (k.open, k.high, k.low, k.close) for t, k in stored.get(lead.market, {}).items()
        }
        for market in markets:
            flows = table.flows[market.kind]
            for t, k in stored.get(market.market, {}).items():
                buy, sell = flows.get(t, (0.0, 0.0))
                flows[t] = (buy + k.vbuy, sell + k.vsell)
        return table

    async def _stored(
        self, markets: Sequence[Market], from_s: int, to_s: int
    ) -> dict[str, dict[int, Kline]]:
        found: dict[str, dict[int, Kline]] = {}
        if not markets:
            return found
        rows = await self._influx.query(
            f'SELECT open, high, low, close, vbuy, vsell, trades FROM "{RETENTION_POLICY}".'
            f'"{names.BACKFILL_MEASUREMENT}" WHERE {within(from_s, to_s)} AND {any_of(markets)} '
            'GROUP BY "market"'
        )
        for row in rows:
            if None in row.values():
                continue  # Another process is just writing it.
            t = int(row["time"])
            o, h, low, c, buy, sell = (float(row[name]) for name in Kline._fields[1:7])
            kline = Kline(t, o, h, low, c, buy, sell, int(row["trades"]))
            found.setdefault(row["market"], {})[t] = kline
        return found


class Backfill(FilledHistory):
    """Fetches missing minutes as well. Several processes may fetch the same: points are equal.

    Raises what its base does, and what its methods name.
    """

    def __init__(self, influx: InfluxClient, history: History, klines: Klines) -> None:
        super().__init__(influx, history)
        self._klines = klines

    async def close(self) -> None:
        """Close the connections to the venues."""
        await self._klines.close()

    async def fetch(
        self, markets: Sequence[Market], reference: Market, from_s: int, to_s: int
    ) -> int:
        """Fetch what is missing in [from_s, to_s) and was not fetched before; number of candles.

        Raises `KlinesUnavailable`; what was fetched until then is stored.
        """
        exact = await self._exact(markets, reference, from_s, to_s)
        missing = set(range(from_s, to_s, MINUTE_S)) - exact.known
        chosen = [m for m in markets if serves(m)]
        stored = await self._stored(chosen, from_s, to_s) if missing else {}
        count = 0
        for market in chosen:
            wanted = missing - stored.get(market.market, {}).keys()
            for page in _pages(wanted):
                found = await self._klines.fetch(market, page.from_s, page.to_s)
                lines = [_line(market, kline) for kline in found if kline.t in wanted]
                if lines:
                    await self._influx.write(
                        lines, precision="ms", retention_policy=RETENTION_POLICY
                    )
                count += len(lines)
        return count


def leading(chosen: Sequence[Market], reference: Market) -> Market | None:
    """The perpetual whose candles supply the price: the reference market if it has any."""
    perps = sorted((m for m in chosen if m.kind == "perp"), key=lambda m: m.quote != "USDT")
    return next((m for m in perps if m == reference), perps[0] if perps else None)


def _pages(wanted: Iterable[int]) -> list[Run]:
    """Spans of at most `PAGE` minutes that hold all of `wanted`."""
    pages: list[Run] = []
    for t in sorted(wanted):
        if pages and t < pages[-1].from_s + PAGE * MINUTE_S:
            pages[-1] = Run(pages[-1].from_s, t + MINUTE_S)
        else:
            pages.append(Run(t, t + MINUTE_S))
    return pages


def _line(market: Market, kline: Kline) -> str:
    fields: dict[str, points.Field | None] = {**kline._asdict()}
    del fields["t"]
    tags = {"market": market.market}
    return points.line(names.BACKFILL_MEASUREMENT, tags, fields, kline.t * 1000)
