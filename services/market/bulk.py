"""Many seconds of one base symbol summed at once, bit for bit as one after another.

Sums over seconds are `cumsum`, which adds from left to right as the plain way does; `sum` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from services.market.aggregate import Aggregator
from services.market.columns import Columns, Floats, MarketColumns
from services.market.membership import (
    ALIVE_S,
    CLASS_SILENT_S,
    COVERAGE_MIN,
    COVERAGE_SLACK,
    Membership,
    Track,
)
from services.market.reference import RETURN_S, STALE_S, Reference
from services.strategy.block import Block, Flags

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def fold(
    aggregator: Aggregator,
    columns: Columns,
    t: int,
    to_s: int,
    oi: Callable[[int], Mapping[str, float]],
) -> Block | None:
    """Sum the seconds [t, to_s), or as many of them as bring no market to be admitted and no change
    of the reference market; None if there are none. The aggregator is left behind the last of them.
    """
    members, reference = aggregator.members, aggregator.reference
    if reference.market is None or reference.close is None or not members.tracks:
        return None
    piece = _Piece(aggregator, columns, t, to_s)
    stop = _until_reference_changes(reference, piece)
    if stop == t:
        return None
    piece.cut(stop)
    candles = _candles(reference, piece)
    flows, coverage, degraded, frozen = _members(members, piece)
    spot_delta, perp_delta, spot_volume, perp_volume = flows
    opens, highs, lows, closes = candles
    return Block(
        t,
        spot_delta,
        perp_delta,
        spot_volume,
        perp_volume,
        opens,
        highs,
        lows,
        closes,
        coverage,
        degraded,
        frozen,
        oi,
    )


class _Part:
    """A counted market's share of a piece: `trades`, the seconds in which it traded."""

    __slots__ = ("columns", "delta", "track", "traded", "trades", "volume")

    def __init__(self, track: Track, columns: MarketColumns | None, part: slice, t: int) -> None:
        self.track = track
        self.columns = columns
        if columns is None:
            n = part.stop - part.start
            self.delta = self.volume = np.zeros(n)
            self.traded = np.zeros(n, np.bool_)
        else:
            buy, sell = columns.buy[part], columns.sell[part]
            self.volume = buy + sell
            self.delta = buy - sell
            self.traded = self.volume > 0.0
            if not self.traded.all():
                idle = ~self.traded
                self.volume[idle] = self.delta[idle] = 0.0
        self.trades: Ints = np.flatnonzero(self.traded) + t

    def cut(self, n: int, stop: int) -> None:
        self.delta, self.volume, self.traded = self.delta[:n], self.volume[:n], self.traded[:n]
        self.trades = self.trades[: np.searchsorted(self.trades, stop)]

    def last(self, times: Ints, before: int) -> Ints:
        """Its last trade as of each second; `before`: the last one before the piece."""
        return np.maximum.accumulate(np.where(self.traded, times, before))


class _Piece:
    """The seconds [t, stop) in which only markets already counted trade."""

    def __init__(self, aggregator: Aggregator, columns: Columns, t: int, to_s: int) -> None:
        self.t, self.stop = t, to_s
        self._columns = columns
        tracks = aggregator.members.tracks
        by_name = {m.market.market: m for m in columns.markets}
        for name, market in by_name.items():
            if name not in tracks and name in aggregator.markets:
                part = slice(t - columns.from_s, self.stop - columns.from_s)
                newcomer = market.buy[part] + market.sell[part] > 0.0
                if newcomer.any():
                    self.stop = t + int(newcomer.argmax())
        part = slice(t - columns.from_s, self.stop - columns.from_s)
        self.parts = {
            name: _Part(track, by_name.get(name), part, t) for name, track in tracks.items()
        }
        self.times: Ints = np.arange(t, self.stop)

    def cut(self, stop: int) -> None:
        """End the piece earlier."""
        if stop == self.stop:
            return
        self.stop = stop
        self.times = self.times[: stop - self.t]
        for part in self.parts.values():
            part.cut(stop - self.t, stop)

    def perps(self) -> list[tuple[str, _Part]]:
        return [(n, p) for n, p in self.parts.items() if p.track.market.kind == "perp"]

    def prices(self, part: _Part) -> tuple[Floats, ...]:
        """Open, high, low, close of a market that is in the columns."""
        found, span = part.columns, slice(self.t - self._columns.from_s, None)
        assert found is not None
        length = self.stop - self.t
        return tuple(p[span][:length] for p in (found.open, found.high, found.low, found.close))

    def silent(self, name: str) -> Flags | None:
        """In which seconds nothing is known of the market; None if in none."""
        flags: Flags | None = None
        for gap in self._columns.gaps:
            if gap.market == name and gap.from_s < self.stop and gap.to_s > self.t:
                flags = np.zeros(self.stop - self.t, np.bool_) if flags is None else flags
                flags[max(0, gap.from_s - self.t) : max(0, gap.to_s - self.t)] = True
        return flags


# The reference price


def _until_reference_changes(reference: Reference, piece: _Piece) -> int:
    stop, times = piece.stop, piece.times
    if not len(times):
        return stop
    followed, seen = piece.parts.get(reference.market or ""), reference.last_seen
    before = np.full(len(times), seen)
    if followed is not None:
        before[1:] = followed.last(times, seen)[:-1]
    stale = times - before >= STALE_S
    if stale.any():
        for _, part in piece.perps():
            other = stale & part.traded
            if other.any():
                stop = min(stop, piece.t + int(other.argmax()))
    if reference.market != reference.preferred and (steady := _steady(reference, piece)):
        trades, since = steady
        back = trades - since >= RETURN_S
        if back.any():
            stop = min(stop, int(trades[back.argmax()]))
    return stop


def _steady(reference: Reference, piece: _Piece) -> tuple[Ints, Ints] | None:
    """Trades of the preferred market, and since when it has then traded steadily."""
    part = piece.parts.get(reference.preferred or "")
    if part is None or not len(part.trades):
        return None
    trades = part.trades
    begins = np.empty(len(trades), np.bool_)
    begins[1:] = np.diff(trades) >= STALE_S
    seen = reference.closes.get(part.track.market.market)
    since = reference.steady_since
    begins[0] = seen is None or since is None or trades[0] - seen[0] >= STALE_S
    return trades, np.maximum.accumulate(np.where(begins, trades, since or 0))


def _candles(reference: Reference, piece: _Piece) -> tuple[Floats, ...]:
    """Spliced open, high, low, close; brings the reference up to the end of the piece."""
    if steady := _steady(reference, piece):
        reference.steady_since = int(steady[1][-1])
    assert reference.market is not None
    assert reference.close is not None
    followed = piece.parts.get(reference.market)
    traded = followed is not None and len(followed.trades) > 0
    _remember(reference, piece, int(followed.trades[-1]) if followed and traded else None)
    n = piece.stop - piece.t
    if followed is None or not traded:
        still = np.full(n, reference.close)
        return still, still, still, still
    spliced = [p * reference.factor for p in piece.prices(followed)]
    if len(followed.trades) < n:
        # Where it did not trade, the last close before stands.
        closes = np.concatenate(([reference.close], spliced[3]))
        traded_at = np.where(followed.traded, np.arange(1, n + 1), 0)
        close = closes[np.maximum.accumulate(traded_at)]
        spliced = [np.where(followed.traded, p, close) for p in spliced]
    reference.close = float(spliced[3][-1])
    return tuple(spliced)


def _remember(reference: Reference, piece: _Piece, traded_t: int | None) -> None:
    """`traded_t`: last trade of the followed market in the piece."""
    if traded_t is not None:
        reference.then.clear()
    for name, part in piece.perps():
        trades = part.trades
        if not len(trades):
            continue
        opens, _, _, closes = piece.prices(part)
        after = 0 if traded_t is None else int(np.searchsorted(trades, traded_t, "right"))
        if after < len(trades) and name not in reference.then and name != reference.market:
            known = reference.closes.get(name)
            if after > 0:
                price = float(closes[trades[after - 1] - piece.t])
            else:
                price = known[1] if known else float(opens[trades[after] - piece.t])
            reference.then[name] = price
        at = int(trades[-1])
        reference.closes[name] = (at, float(closes[at - piece.t]))


# The markets that count


@dataclass(slots=True)
class _PerMinute:
    """What holds for a market from one minute's beginning to the next, one element a minute."""

    share: list[float]
    limit_s: list[float]
    included: list[bool]


def _members(members: Membership, piece: _Piece) -> tuple[tuple[Floats, ...], Floats, Flags, Flags]:
    """Flows, coverage, degraded and frozen; brings the members up to the end of the piece."""
    first = (piece.t // 60 + (piece.t % 60 > 0)) * 60
    starts = [] if piece.t == first else [piece.t]
    starts += range(first, piece.stop, 60)
    edges = [*starts, piece.stop]
    lengths = np.diff(edges)
    lives = {name: part.last(piece.times, part.track.last) for name, part in piece.parts.items()}
    minutes, changes = _live(members, piece, edges)
    flows = _flows(piece, minutes, lengths)
    coverage, one_sided = _coverage(piece, minutes, lengths, lives)
    degraded = _degraded(members, piece.t, coverage, one_sided)
    members.coverage = float(coverage[-1])
    frozen = np.zeros(len(piece.times), np.bool_)
    frozen[np.array(changes, np.int64) - piece.t] = True
    return flows, coverage, degraded, frozen


def _live(
    members: Membership, piece: _Piece, edges: list[int]
) -> tuple[dict[str, _PerMinute], list[int]]:
    """What held in each minute, and the seconds in which the markets changed much."""
    minutes = {name: _PerMinute([], [], []) for name in piece.parts}
    changes: list[int] = []
    feeds = [_Feed(part, edges, piece.t) for part in piece.parts.values()]
    for k, start in enumerate(edges[:-1]):
        if start % 60 == 0:
            members.close_minute(start)
            if members.changed_t == start:
                changes.append(start)
        for feed, minute in zip(feeds, minutes.values(), strict=True):
            track = feed.track
            minute.share.append(track.share)
            minute.limit_s.append(track.limit_s)
            minute.included.append(track.included)
            feed.minute(k)
    return minutes, changes


class _Feed:
    """Hands a market's trades to its track, minute by minute."""

    def __init__(self, part: _Part, edges: list[int], t: int) -> None:
        self.track = part.track
        trades = part.trades
        self._trades: list[int] = trades.tolist()
        before = np.concatenate(([self.track.last], trades[:-1]))
        self._intervals: list[int] = (trades - before).tolist() if len(trades) else []
        self._at: list[int] = np.searchsorted(trades, edges).tolist()
        self._longest = max(self._intervals, default=0)
        into_minute, n = t % 60, len(part.volume)
        rows = np.zeros(-(-(into_minute + n) // 60) * 60)
        rows[into_minute : into_minute + n] = part.volume
        if into_minute:
            rows[into_minute - 1] = self.track.minute_volume
        self._volumes: list[float] = np.cumsum(rows.reshape(-1, 60), axis=1)[:, -1].tolist()

    def minute(self, k: int) -> None:
        first, stop = self._at[k], self._at[k + 1]
        if first == stop:
            return
        track, intervals = self.track, self._intervals[first:stop]
        if self._longest <= ALIVE_S:
            track.intervals.extend(intervals)
            track.last = self._trades[stop - 1]
            track.minute_volume = self._volumes[k]
        else:
            track.saw_each(self._trades[first:stop], intervals, self._volumes[k])


def _flows(
    piece: _Piece, minutes: dict[str, _PerMinute], lengths: Ints
) -> tuple[Floats, Floats, Floats, Floats]:
    n = piece.stop - piece.t
    delta = {"spot": np.zeros(n), "perp": np.zeros(n)}
    volume = {"spot": np.zeros(n), "perp": np.zeros(n)}
    for name, part in piece.parts.items():
        included, kind = minutes[name].included, part.track.market.kind
        if all(included):
            delta[kind] += part.delta
            volume[kind] += part.volume
        elif any(included):
            counts = np.repeat(included, lengths)
            delta[kind] += np.where(counts, part.delta, 0.0)
            volume[kind] += np.where(counts, part.volume, 0.0)
    return delta["spot"], delta["perp"], volume["spot"], volume["perp"]


def _coverage(
    piece: _Piece, minutes: dict[str, _PerMinute], lengths: Ints, lives: dict[str, Ints]
) -> tuple[Floats, Flags]:
    """Coverage, and whether only one of the classes trades."""
    n = piece.stop - piece.t
    alive = {"spot": np.zeros(n), "perp": np.zeros(n)}
    newest = {"spot": np.zeros(n, np.int64), "perp": np.zeros(n, np.int64)}
    for name, part in piece.parts.items():
        kind, minute = part.track.market.kind, minutes[name]
        np.maximum(newest[kind], lives[name], out=newest[kind])
        ages, share = piece.times - lives[name], np.repeat(minute.share, lengths)
        silent = piece.silent(name)
        if silent is not None or ages.max() > min(minute.limit_s):
            lives_on = ages <= np.repeat(minute.limit_s, lengths)
            if silent is not None:
                lives_on &= ~silent
            share = np.where(lives_on, share, 0.0)
        alive[kind] += share
    coverage = np.minimum(1.0, np.minimum(alive["spot"], alive["perp"]))
    spot_age, perp_age = piece.times - newest["spot"], piece.times - newest["perp"]
    quiet = np.maximum(spot_age, perp_age) >= CLASS_SILENT_S
    return coverage, quiet & (np.minimum(spot_age, perp_age) < CLASS_SILENT_S)


def _degraded(members: Membership, t: int, coverage: Floats, one_sided: Flags) -> Flags:
    good = (coverage >= COVERAGE_MIN - COVERAGE_SLACK) & ~one_sided
    n = len(good)
    if good.all() and not members.degraded:
        members.trust(t)
        members.trust(t + n - 1)
        return np.zeros(n, np.bool_)
    degraded = np.empty(n, np.bool_)
    for i, (fine, alone) in enumerate(zip(good.tolist(), one_sided.tolist(), strict=True)):
        if fine:
            members.trust(t + i)
        else:
            members.doubt(t + i, at_once=alone)
        degraded[i] = members.degraded
    return degraded
