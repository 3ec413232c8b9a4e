"""The one price series of a base symbol, although its market may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aggr_server.wire import Bar

STALE_S = 30
RETURN_S = 60
RETURN_GAP_S = 5


class Candle(NamedTuple):
    """Spliced prices of one second."""

    open: float
    high: float
    low: float
    close: float


class Reference:
    """Prices of the preferred market; of another perpetual while that one is silent.

    Prices of whichever market is followed are multiplied by a factor, chosen at each change so
    that the series does not jump. Without a trade the last close stands.
    """

    def __init__(self, preferred: str | None) -> None:
        self.preferred = preferred
        self.market = preferred
        self.close: float | None = None
        self._factor = 1.0
        self._execution_factor = 1.0
        self._closes: dict[str, tuple[int, float]] = {}
        self._steady_since: int | None = None
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
        for name, bar in bars.items():
            if name == self.preferred:
                self._watch_preferred(t)
            self._closes[name] = (t, bar.close)
        self._choose(t, bars, volumes)
        traded = bars.get(self.market) if self.market else None
        if traded is None:
            return Candle(*[self.close] * 4) if self.close is not None else None
        candle = Candle(
            *(p * self._factor for p in (traded.open, traded.high, traded.low, traded.close))
        )
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
        seen = self._closes.get(self.market) if self.market else None
        return None if seen is None else t - seen[0]

    def _watch_preferred(self, t: int) -> None:
        last = self._closes.get(self.preferred) if self.preferred else None
        if last is None or t - last[0] > RETURN_GAP_S or self._steady_since is None:
            self._steady_since = t

    def _choose(self, t: int, bars: Mapping[str, Bar], volumes: Mapping[str, float]) -> None:
        if self.market != self.preferred and self._preferred_is_back(t, bars):
            self._follow(self.preferred)
            self._execution_factor = self._factor
        elif bars and (self.market is None or self._stale(t)):
            self._follow(max(bars, key=lambda name: (volumes.get(name, 0.0), name)))

    def _stale(self, t: int) -> bool:
        seen = self._closes.get(self.market) if self.market else None
        return t - (seen[0] if seen else self._started or t) >= STALE_S

    def _preferred_is_back(self, t: int, bars: Mapping[str, Bar]) -> bool:
        return (
            self.preferred in bars
            and self._steady_since is not None
            and t - self._steady_since >= RETURN_S
        )

    def _follow(self, market: str | None) -> None:
        if market is None or market == self.market:
            return
        self.market = market
        if self.close is not None:
            self._factor = self.close / self._closes[market][1]
