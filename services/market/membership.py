"""Which markets of a base symbol count, how much they weigh, and whether enough of them live."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from statistics import median

from aggr_server.wire import Market

JOIN_S = 900
"""A market new to the symbol counts from this many seconds of uninterrupted life on."""

ALIVE_S = 30
ALIVE_GAPS = 20
COVERAGE_MIN = 0.80
COVERAGE_SLACK = 1e-9
DEGRADED_AFTER_S = 10
NORMAL_AFTER_S = 60
CLASS_SILENT_S = 30
COMPOSITION_SHARE = 0.20
INTERVALS = 256
LONGEST_INTERVAL_S = 3600
_MINUTES_OF_DAY = 1440


@dataclass(slots=True)
class Track:
    """A market's life: alive `since`, `last` trade (UTC seconds), its volume in quote USD.

    `share`: of the volume of its class. It is alive up to `limit_s` after its last trade.
    """

    market: Market
    since: int
    last: int
    included: bool
    volume: float = 0.0
    minute_volume: float = 0.0
    share: float = 0.0
    limit_s: float = ALIVE_S
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS))
    perp: bool = field(init=False)

    def __post_init__(self) -> None:
        self.perp = self.market.kind == "perp"

    def saw(self, t: int, volume: float) -> None:
        """It traded `volume` in second `t`."""
        interval = t - self.last
        if interval > self.limit_s:
            self.since = t
        # Long ones count too, else a market that trades each minute would never seem alive.
        if 0 < interval <= LONGEST_INTERVAL_S:
            self.intervals.append(interval)
        self.last = t
        self.minute_volume += volume

    def saw_each(self, seconds: list[int], intervals: list[int], minute_volume: float) -> None:
        """Like `saw` for each of some seconds of one minute, at least one.

        `intervals`: since the trade before each. `minute_volume`: that of the minute so far.
        """
        for t, interval in zip(seconds, intervals, strict=True):
            if interval > self.limit_s:
                self.since = t
        self.intervals.extend(i for i in intervals if i <= LONGEST_INTERVAL_S)
        self.last = seconds[-1]
        self.minute_volume = minute_volume

    def alive(self, t: int) -> bool:
        return t - self.last <= self.limit_s

    def close_minute(self) -> None:
        """Weigh the minute that has ended, and see how often the market trades."""
        self.volume += self.minute_volume - self.volume / _MINUTES_OF_DAY
        self.minute_volume = 0.0
        intervals = self.intervals
        if intervals:
            # Most markets trade in most seconds; then the median need not be looked for.
            busy = 2 * intervals.count(1) > len(intervals)
            self.limit_s = ALIVE_S if busy else max(ALIVE_S, ALIVE_GAPS * median(intervals))

    def copy(self) -> Track:
        return replace(self, intervals=self.intervals.copy())


class Membership:
    """The markets that have traded, in the order of their names, so that sums do not depend on
    the order of arrival.

    A market counts from the start if it is there in the first 15 minutes of bars, else from the
    first minute on in which it has lived for 15 minutes without interruption. It stops contributing
    when it falls silent and goes on when it returns; only after 15 minutes of silence it has to
    join anew, because collectors fetch what a short outage missed, and leaving out a market's flow
    for a quarter of an hour after every reconnection would distort the sums more than the outage.
    Volumes that weigh the markets are those of about a day, older ones fading, so that one number
    per market is enough. A market is alive by its last 256 intervals, an hour's at most each.
    """

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}
        self.perp_volumes: dict[str, float] = {}
        self.degraded = False
        self.coverage = 0.0
        self.changed_t: int | None = None
        self.low_since: int | None = None
        self.good_since: int | None = None
        self._seeded: dict[str, float] = {}
        self._started: int | None = None
        self._whole = 0.0

    def seed(self, volumes: Mapping[str, float]) -> None:
        """Market -> volume of the day before the first second."""
        self._seeded = dict(volumes)

    def admit(self, market: Market, t: int) -> Track:
        """A market trades for the first time, in second `t`."""
        self._started = t if self._started is None else self._started
        track = Track(market, since=t, last=t, included=t - self._started < JOIN_S)
        track.volume = self._seeded.pop(market.market, 0.0)
        self.tracks[market.market] = track
        self.tracks = dict(sorted(self.tracks.items()))
        self._share()
        return track

    def close_minute(self, t: int) -> None:
        """Second `t` begins a minute: weigh the markets, let them join or leave."""
        for track in self.tracks.values():
            track.close_minute()
        self._share()
        self._change(t)

    def judge(self, t: int, silent: Set[str], *, everyone: bool = False) -> None:
        """Bring coverage and trust up to second `t`, whose trades have been seen.

        `everyone`: all of the markets have traded in it, as mostly, so that nothing is to be
        looked for.
        """
        if everyone and not silent and self._whole:
            self.coverage = self._whole
            self.trust(t)
            return
        alive = {"spot": 0.0, "perp": 0.0}
        newest = {"spot": 0, "perp": 0}
        for name, track in self.tracks.items():
            kind = track.market.kind
            last = track.last
            if last > newest[kind]:
                newest[kind] = last
            if t - last <= track.limit_s and name not in silent:
                alive[kind] += track.share
        self.coverage = min(1.0, alive["spot"], alive["perp"])
        ages = [t - newest["spot"], t - newest["perp"]]
        one_sided = max(ages) >= CLASS_SILENT_S > min(ages)
        if self.coverage >= COVERAGE_MIN - COVERAGE_SLACK and not one_sided:
            self.trust(t)
        else:
            self.doubt(t, at_once=one_sided)

    def trust(self, t: int) -> None:
        """Enough of the markets live in second `t`."""
        self.low_since = None
        self.good_since = t if self.good_since is None else self.good_since
        if t - self.good_since >= NORMAL_AFTER_S:
            self.degraded = False

    def doubt(self, t: int, *, at_once: bool) -> None:
        """Too few of the markets live in second `t`, or none of one class."""
        self.good_since = None
        self.low_since = t if self.low_since is None else self.low_since
        if at_once or t - self.low_since >= DEGRADED_AFTER_S:
            self.degraded = True

    def copy(self) -> Membership:
        """An independent one in the same state."""
        other = Membership()
        for name, value in vars(self).items():
            setattr(other, name, value)
        other.tracks = {name: track.copy() for name, track in self.tracks.items()}
        other._seeded = dict(self._seeded)
        return other

    def _share(self) -> None:
        whole = {"spot": 0.0, "perp": 0.0}
        for kind in ("spot", "perp"):
            tracks = [x for x in self.tracks.values() if x.market.kind == kind]
            total = sum(x.volume + x.minute_volume for x in tracks)
            for x in tracks:
                x.share = (x.volume + x.minute_volume) / total if total else 1.0 / len(tracks)
                whole[kind] += x.share
        # The shares of a class add up to 1 but for rounding, or to 0 if it has no market.
        self._whole = min(1.0, whole["spot"], whole["perp"])
        perps = (x for x in self.tracks.items() if x[1].market.kind == "perp")
        self.perp_volumes = {name: track.volume for name, track in perps}

    def _change(self, t: int) -> None:
        moved = {"spot": 0.0, "perp": 0.0}
        for track in self.tracks.values():
            if track.included and t - track.last > max(JOIN_S, track.limit_s):
                track.included = False
            elif not track.included and track.alive(t) and t - track.since >= JOIN_S:
                track.included = True
            else:
                continue
            moved[track.market.kind] += track.share
        if max(moved.values()) > COMPOSITION_SHARE:
            self.changed_t = t
