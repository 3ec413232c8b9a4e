"""Sums the markets of one base symbol into one second of flow and price."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from statistics import median

from aggr_server.wire import Bar, Market
from services.market.bars import ClosedBars, Late
from services.market.reference import Reference
from services.strategy.types import Second

JOIN_S = 900
"""A market new to the symbol counts from this many seconds of uninterrupted life on."""

ALIVE_S = 30
ALIVE_GAPS = 20
COVERAGE_MIN = 0.80
DEGRADED_AFTER_S = 10
NORMAL_AFTER_S = 60
CLASS_SILENT_S = 30
COMPOSITION_SHARE = 0.20
COMPOSITION_FREEZE_S = 1800
_MINUTES_OF_DAY = 1440
_QUOTE_ORDER = ("USDT", "USD", "USDC")


def preferred_market(markets: Sequence[Market], exchange: str) -> Market | None:
    """The perpetual of `exchange` whose prices are followed; None if it lists none."""
    perps = [m for m in markets if m.kind == "perp" and m.exchange == exchange]
    rank = {quote: i for i, quote in enumerate(_QUOTE_ORDER)}
    return min(perps, key=lambda m: (rank.get(m.quote, len(rank)), m.market), default=None)


@dataclass(slots=True)
class _Track:
    market: Market
    since: int
    last: int
    included: bool
    volume: float = 0.0
    minute_volume: float = 0.0
    share: float = 0.0
    limit_s: float = ALIVE_S
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=256))

    def saw(self, t: int, bar: Bar) -> None:
        interval = t - self.last
        if interval > self.limit_s:
            self.since = t
        elif interval > 0:
            self.intervals.append(interval)
        self.last = t
        self.minute_volume += bar.vbuy + bar.vsell

    def alive(self, t: int) -> bool:
        return t - self.last <= self.limit_s


class Aggregator:
    """Bars of all markets of a base symbol in, one `Second` for every second out.

    A market counts from the start if it is there in the first 15 minutes of bars, else once it has
    lived for 15 minutes without interruption. It stops contributing when it falls silent and goes
    on when it returns; only after 15 minutes of silence it has to join anew. Volumes that weigh the
    markets are those of about a day, older ones fading.
    """

    def __init__(self, markets: Sequence[Market], execution_exchange: str) -> None:
        self._markets = {m.market: m for m in markets}
        self._exchange = execution_exchange
        preferred = preferred_market(markets, execution_exchange)
        self.reference = Reference(preferred.market if preferred else None)
        self._tracks: dict[str, _Track] = {}
        self._seeded: dict[str, float] = {}
        self._started: int | None = None
        self._low_since: int | None = None
        self._good_since: int | None = None
        self._frozen_until = 0
        self.degraded = False
        self.coverage = 0.0

    def add_markets(self, markets: Sequence[Market]) -> None:
        """Learn of further markets."""
        self._markets.update((m.market, m) for m in markets)
        if self.reference.preferred is None:
            found = preferred_market(markets, self._exchange)
            self.reference.preferred = found.market if found else None

    def seed(self, volumes: Mapping[str, float], close: float | None) -> None:
        """What is known before the first second: market -> volume of a day, and the last price."""
        self._seeded = dict(volumes)
        if close is not None:
            self.reference.seed(close)

    def second(
        self,
        t: int,
        bars: Mapping[str, Bar],
        late: Mapping[str, Late] = {},
        silent: Set[str] = frozenset(),
        oi: Mapping[str, float] = {},
    ) -> Second | None:
        """Sum second `t`, which follows the previous one. None before the first price."""
        if t % 60 == 0:
            self._refresh(t)
        delta = {"spot": 0.0, "perp": 0.0}
        volume = {"spot": 0.0, "perp": 0.0}
        perps: dict[str, Bar] = {}
        for name, bar in bars.items():
            if bar.vbuy + bar.vsell <= 0.0:  # liquidations alone are no trade
                continue
            track = self._tracks.get(name) or self._admit(name, t)
            if track is None:
                continue
            track.saw(t, bar)
            kind = track.market.kind
            if kind == "perp":
                perps[name] = bar
            if track.included:
                delta[kind] += bar.vbuy - bar.vsell
                volume[kind] += bar.vbuy + bar.vsell
        for name, (buy, sell) in late.items():
            found = self._tracks.get(name)
            if found and found.included:
                delta[found.market.kind] += buy - sell
                volume[found.market.kind] += buy + sell
        self._judge(t, silent)
        candle = self.reference.step(t, perps, self._volumes())
        if candle is None:
            return None
        return Second(
            t,
            delta["spot"],
            delta["perp"],
            max(0.0, volume["spot"]),
            max(0.0, volume["perp"]),
            *candle,
            coverage=self.coverage,
            degraded=self.degraded,
            composition_frozen=t < self._frozen_until,
            oi=oi,
        )

    def closed(self, closed: ClosedBars, base: str, oi: Mapping[str, float]) -> Second | None:
        """`second` for what the assembler hands out."""
        late = closed.late.get(base, {})
        return self.second(closed.t, closed.bars.get(base, {}), late, closed.silent, oi)

    def _volumes(self) -> dict[str, float]:
        return {n: t.volume for n, t in self._tracks.items() if t.market.kind == "perp"}

    def _admit(self, name: str, t: int) -> _Track | None:
        market = self._markets.get(name)
        if market is None:
            return None
        self._started = t if self._started is None else self._started
        early = t - self._started < JOIN_S
        track = _Track(market, since=t, last=t, included=early)
        track.volume = self._seeded.pop(name, 0.0)
        self._tracks[name] = track
        self._share()
        return track

    def _refresh(self, t: int) -> None:
        for track in self._tracks.values():
            track.volume += track.minute_volume - track.volume / _MINUTES_OF_DAY
            track.minute_volume = 0.0
            if track.intervals:
                track.limit_s = max(ALIVE_S, ALIVE_GAPS * median(track.intervals))
        self._share()
        self._change_members(t)

    def _share(self) -> None:
        for kind in ("spot", "perp"):
            tracks = [x for x in self._tracks.values() if x.market.kind == kind]
            total = sum(x.volume + x.minute_volume for x in tracks)
            for x in tracks:
                x.share = (x.volume + x.minute_volume) / total if total else 1.0 / len(tracks)

    def _change_members(self, t: int) -> None:
        moved = {"spot": 0.0, "perp": 0.0}
        for track in self._tracks.values():
            if track.included and t - track.last > max(JOIN_S, track.limit_s):
                track.included = False
            elif not track.included and track.alive(t) and t - track.since >= JOIN_S:
                track.included = True
            else:
                continue
            moved[track.market.kind] += track.share
        if max(moved.values()) > COMPOSITION_SHARE:
            self._frozen_until = t + COMPOSITION_FREEZE_S

    def _judge(self, t: int, silent: Set[str]) -> None:
        alive = {"spot": 0.0, "perp": 0.0}
        newest = {"spot": 0, "perp": 0}
        for name, track in self._tracks.items():
            kind = track.market.kind
            newest[kind] = max(newest[kind], track.last)
            if track.alive(t) and name not in silent:
                alive[kind] += track.share
        self.coverage = min(1.0, alive["spot"], alive["perp"])
        ages = [t - newest["spot"], t - newest["perp"]]
        one_sided = max(ages) >= CLASS_SILENT_S > min(ages)
        if self.coverage >= COVERAGE_MIN - 1e-9 and not one_sided:
            self._low_since = None
            self._good_since = t if self._good_since is None else self._good_since
            if t - self._good_since >= NORMAL_AFTER_S:
                self.degraded = False
        else:
            self._good_since = None
            self._low_since = t if self._low_since is None else self._low_since
            if one_sided or t - self._low_since >= DEGRADED_AFTER_S:
                self.degraded = True
