"""A random market: ten venues for every symbol, some silent in some seconds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from aggr_server.wire import Bar, ClosedSecond, Market

VENUES = {
    "BINANCE": ("spot", 1.0),
    "COINBASE": ("spot", 0.8),
    "KRAKEN": ("spot", 0.2),
    "BITSTAMP": ("spot", 0.1),
    "BINANCE_FUTURES": ("perp", 2.0),
    "BYBIT": ("perp", 1.0),
    "OKEX": ("perp", 0.7),
    "BITGET": ("perp", 0.3),
    "DERIBIT": ("perp", 0.2),
    "HYPERLIQUID": ("perp", 0.4),
}
"""Kind of the market there, and how busy it is."""

START = {"BTC": 64_000.0, "ETH": 3_100.0}


def markets(base: str) -> list[Market]:
    """One market of each venue."""
    return [
        Market(f"{exchange}:{base.lower()}usdt", exchange, base, "USDT", kind)  # type: ignore[arg-type]
        for exchange, (kind, _) in VENUES.items()
    ]


class Coin:
    """One symbol's bars, second by second. `close`: the last price."""

    def __init__(self, base: str, seed: int) -> None:
        self.base = base
        self.close = START.get(base, 100.0)
        self._random = random.Random(f"{base}{seed}")
        self._markets = markets(base)
        self._lean = 0.0

    def second(self, t: int) -> list[Bar]:
        """The bars of second `t`; a market that does not trade has none."""
        rng = self._random
        self._lean = 0.99 * self._lean + rng.gauss(0.0, 0.05)
        bars = []
        for market in self._markets:
            busy = VENUES[market.exchange][1]
            if rng.random() > min(0.98, 0.4 + busy):
                continue
            bars.append(self._bar(t, market, busy))
        self.close *= math.exp(rng.gauss(0.0, 8e-5) + 2e-5 * self._lean)
        return bars

    def seconds(self, from_s: int, to_s: int) -> Iterator[list[Bar]]:
        """The bars of each of [from_s, to_s)."""
        return (self.second(t) for t in range(from_s, to_s))

    def _bar(self, t: int, market: Market, busy: float) -> Bar:
        rng = self._random
        prices = sorted(self.close * math.exp(rng.gauss(0.0, 3e-5)) for _ in range(4))
        first, last = rng.sample(prices, 2)
        volume = busy * rng.expovariate(1 / 60_000.0)
        share = min(1.0, max(0.0, 0.5 + 0.1 * self._lean + rng.gauss(0.0, 0.2)))
        forced = rng.random() < 0.004 and market.kind == "perp"
        return Bar(
            t,
            market.market,
            first,
            prices[-1],
            prices[0],
            last,
            volume * share,
            volume * (1.0 - share),
            1 + int(volume // 2_000),
            1 + int(volume // 2_500),
            volume * 0.3 if forced and share > 0.5 else 0.0,
            volume * 0.3 if forced and share <= 0.5 else 0.0,
        )


def message(seq: int, t: int, bars: Sequence[Bar], now_ms: int) -> ClosedSecond:
    """A collector's message of second `t`."""
    return ClosedSecond("paging", "1", seq, t, now_ms, now_ms, list(bars))
