"""The one price series of a base symbol, although its market may change."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import NamedTuple

from aggr_server.wire import Bar

STALE_S = 30
RETURN_S = 60


class Candle(NamedTuple):
    """Spliced prices of one second."""

    open: float
    high: float
    low: float
    close: float


class Reference:
    """Prices of the preferred market; of another perpetual while that one is silent.

    Prices of whichever market is followed are multiplied by a factor: the last close of the series
    over the new market's price in that same second. So the difference between two markets makes no
    jump, and what happened while the old one was silent is not lost. Without a trade the last
    close stands.

    `market`: the one followed, `factor`: its own. `closes`: perpetual -> second and price of its
    last trade. `steady_since`: since when the preferred market has traded without a pause. `then`:
    price at the last close, of markets that have traded since.
    """

    def __init__(self, preferred: str | None) -> None:
        self.preferred = preferred
        self.market = preferred
        self.close: float | None = None
        self.factor = 1.0
        self._execution_factor = 1.0
        self.closes: dict[str, tuple[int, float]] = {}
        self.then: dict[str, float] = {}
        self.steady_since: int | None = None
        self._started: int | None = None

    def seed(self, close: float) -> None:
        """The last price before the first second."""
        self.close = close

    def step(self, t: int, bars: Mapping[str, Bar], volumes: Mapping[str, float]) -> Candle | None:
        """Prices of second `t` given the bars of all perpetuals; None before the first price.

        `volumes`: perpetual -> volume of the last 24 hours, by which a substitute is chosen.
        """
        if self._started is None:
            self._started = t
        if self.preferred in bars:
            self._watch_preferred(t)
        self._choose(t, bars, volumes)
        self._remember(t, bars)
        traded = bars.get(self.market) if self.market else None
        if traded is None:
            return Candle(*[self.close] * 4) if self.close is not None else None
        f = self.factor
        candle = Candle(traded.open * f, traded.high * f, traded.low * f, traded.close * f)
        self.close = candle.close
        return candle

    def execution_price(self, spliced: float) -> float:
        """A spliced price as a price of the preferred market."""
        return spliced / self._execution_factor

    def spliced_price(self, execution: float) -> float:
        """Inverse of `execution_price`."""
        return execution * self._execution_factor

    def age(self, t: int) -> int | None:
        """Seconds since the followed market last traded, as of second `t`."""
        seen = self.closes.get(self.market) if self.market else None
        return None if seen is None else t - seen[0]

    def _watch_preferred(self, t: int) -> None:
        last = self.closes.get(self.preferred) if self.preferred else None
        if last is None or t - last[0] >= STALE_S or self.steady_since is None:
            self.steady_since = t

    def _choose(self, t: int, bars: Mapping[str, Bar], volumes: Mapping[str, float]) -> None:
        if self.market != self.preferred and self._preferred_is_back(t, bars):
            self._follow(self.preferred, bars)
        elif bars and (self.market is None or self._stale(t)):
            alive = {name for name, (seen, _) in self.closes.items() if t - seen < STALE_S}
            largest = max(alive.union(bars), key=lambda name: (volumes.get(name, 0.0), name))
            if largest in bars:
                self._follow(largest, bars)

    @property
    def last_seen(self) -> int:
        """Second of the followed market's last trade, before its first the first second of all."""
        seen = self.closes.get(self.market) if self.market else None
        return seen[0] if seen else self._started or 0

    def copy(self) -> Reference:
        """An independent one in the same state."""
        other = copy(self)
        other.closes, other.then = dict(self.closes), dict(self.then)
        return other

    def _stale(self, t: int) -> bool:
        return t - self.last_seen >= STALE_S

    def _preferred_is_back(self, t: int, bars: Mapping[str, Bar]) -> bool:
        return (
            self.preferred in bars
            and self.steady_since is not None
            and t - self.steady_since >= RETURN_S
        )

    def _follow(self, market: str | None, bars: Mapping[str, Bar]) -> None:
        if market is None or market == self.market:
            return
        self.market = market
        if self.close is not None:
            known = self.closes.get(market)
            then = self.then.get(market, known[1] if known else bars[market].open)
            self.factor = self.close / then
        if market == self.preferred:
            self._execution_factor = self.factor

    def _remember(self, t: int, bars: Mapping[str, Bar]) -> None:
        if self.market in bars:
            self.then.clear()
        else:
            for name, bar in bars.items():
                if name not in self.then:
                    known = self.closes.get(name)
                    self.then[name] = known[1] if known else bar.open
        for name, bar in bars.items():
            self.closes[name] = (t, bar.close)
