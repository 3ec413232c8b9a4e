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

Flow = tuple[float, float, float, float]
"""Spot and perp delta, spot and perp volume, quote USD."""


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
        flow, perps, everyone = self._flow(t, bars)
        spot_delta, perp_delta, spot_volume, perp_volume = self._later(flow, late) if late else flow
        members.judge(t, silent, everyone=everyone)
        candle = self.reference.step(t, perps, members.perp_volumes)
        if candle is None:
            return None
        return Second(
            t,
            spot_delta,
            perp_delta,
            max(0.0, spot_volume),
            max(0.0, perp_volume),
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

    def _flow(self, t: int, bars: Mapping[str, Bar]) -> tuple[Flow, dict[str, Bar], bool]:
        """What was traded, the perpetuals' bars, and whether every known market has traded."""
        spot_delta = perp_delta = spot_volume = perp_volume = 0.0
        perps: dict[str, Bar] = {}
        tracks, seen = self.members.tracks, 0
        for name in sorted(bars):
            bar = bars[name]
            traded = bar.vbuy + bar.vsell
            if traded <= 0.0:  # liquidations alone are no trade
                continue
            track = tracks.get(name)
            if track is None:
                market = self.markets.get(name)
                if market is None:
                    continue
                track = self.members.admit(market, t)
                tracks = self.members.tracks
            track.saw(t, traded)
            seen += 1
            if track.perp:
                perps[name] = bar
                if track.included:
                    perp_delta += bar.vbuy - bar.vsell
                    perp_volume += traded
            elif track.included:
                spot_delta += bar.vbuy - bar.vsell
                spot_volume += traded
        flow = spot_delta, perp_delta, spot_volume, perp_volume
        return flow, perps, seen == len(tracks)

    def _later(self, flow: Flow, late: Mapping[str, Late]) -> Flow:
        """`flow` and what became known of earlier seconds."""
        spot_delta, perp_delta, spot_volume, perp_volume = flow
        for name in sorted(late):
            track = self.members.tracks.get(name)
            if track is None or not track.included:
                continue
            buy, sell = late[name]
            if track.perp:
                perp_delta += buy - sell
                perp_volume += buy + sell
            else:
                spot_delta += buy - sell
                spot_volume += buy + sell
        return spot_delta, perp_delta, spot_volume, perp_volume

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
