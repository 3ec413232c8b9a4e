"""Sums the markets of one base symbol into one second of flow and price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from aggr_server.wire import Bar, Market
from services.market.bars import ClosedBars, Late
from services.market.membership import Membership
from services.market.reference import Reference
from services.strategy.types import Second

_QUOTE_ORDER = ("USDT", "USD", "USDC")

Checkpoint = tuple[Membership, Reference]


def preferred_market(markets: Sequence[Market], exchange: str) -> Market | None:
    """The perpetual of `exchange` whose prices are followed; None if it lists none."""
    perps = [m for m in markets if m.kind == "perp" and m.exchange == exchange]
    rank = {quote: i for i, quote in enumerate(_QUOTE_ORDER)}
    return min(perps, key=lambda m: (rank.get(m.quote, len(rank)), m.market), default=None)


class Aggregator:
    """Bars of all markets of a base symbol in, one `Second` for every second out.

    Markets are added in the order of their names: the same bars give the same bits, in whatever
    order they arrive. `members`: which of them count.
    """

    def __init__(self, markets: Sequence[Market], execution_exchange: str) -> None:
        self.markets = {m.market: m for m in markets}
        self._exchange = execution_exchange
        preferred = preferred_market(markets, execution_exchange)
        self.reference = Reference(preferred.market if preferred else None)
        self.members = Membership()

    def add_markets(self, markets: Sequence[Market]) -> None:
        """Learn of further markets."""
        self.markets.update((m.market, m) for m in markets)
        if self.reference.preferred is None:
            found = preferred_market(markets, self._exchange)
            self.reference.preferred = found.market if found else None

    def seed(self, volumes: Mapping[str, float], close: float | None) -> None:
        """What is known before the first second: market -> volume of a day, and the last price."""
        self.members.seed(volumes)
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
        members = self.members
        if t % 60 == 0:
            members.close_minute(t)
        delta = {"spot": 0.0, "perp": 0.0}
        volume = {"spot": 0.0, "perp": 0.0}
        perps: dict[str, Bar] = {}
        for name in sorted(bars):
            bar = bars[name]
            traded = bar.vbuy + bar.vsell
            if traded <= 0.0:  # liquidations alone are no trade
                continue
            track = members.tracks.get(name)
            if track is None:
                market = self.markets.get(name)
                if market is None:
                    continue
                track = members.admit(market, t)
            track.saw(t, traded)
            kind = track.market.kind
            if kind == "perp":
                perps[name] = bar
            if track.included:
                delta[kind] += bar.vbuy - bar.vsell
                volume[kind] += traded
        for name in sorted(late):
            found = members.tracks.get(name)
            if found and found.included:
                buy, sell = late[name]
                delta[found.market.kind] += buy - sell
                volume[found.market.kind] += buy + sell
        members.judge(t, silent)
        candle = self.reference.step(t, perps, members.perp_volumes)
        if candle is None:
            return None
        return Second(
            t,
            delta["spot"],
            delta["perp"],
            max(0.0, volume["spot"]),
            max(0.0, volume["perp"]),
            *candle,
            coverage=members.coverage,
            degraded=members.degraded,
            composition_frozen=t == members.changed_t,
            oi=oi,
        )

    def closed(self, closed: ClosedBars, base: str, oi: Mapping[str, float]) -> Second | None:
        """`second` for what the assembler hands out."""
        late = closed.late.get(base, {})
        return self.second(closed.t, closed.bars.get(base, {}), late, closed.silent, oi)

    @property
    def coverage(self) -> float:
        """Share of the volume whose markets live, of the worse covered class; 0 to 1."""
        return self.members.coverage

    @property
    def degraded(self) -> bool:
        """The newest second must not be trusted."""
        return self.members.degraded

    def checkpoint(self) -> Checkpoint:
        """Where `rewind` can come back to; the markets known are no part of it."""
        return self.members.copy(), self.reference.copy()

    def rewind(self, checkpoint: Checkpoint) -> None:
        """Forget the seconds since `checkpoint`, which must not be used again."""
        self.members, self.reference = checkpoint
