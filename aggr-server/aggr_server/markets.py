"""A market that is followed: from the venue's unit to dollars, each trade once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggr_server import clock, wire
from aggr_server.bars import Fill, Series
from aggr_server.dedup import Numbers, RecentIds
from aggr_server.exchanges.base import Adapter, Instrument, Liquidation, Trade

ABSURD_USD = 1e12
"""No price is that high and no trade that large: whatever says so is not read as it was meant."""


def sizes(instrument: Instrument, price: float, size: float) -> tuple[float, float] | None:
    """Base coins and quote notional of a published size; None if the contract is unknown."""
    contract = instrument.contract_size
    if contract is None:
        return None
    if instrument.inverse:
        return size * contract / price, size * contract
    return size * contract, size * contract * price


class MarketState:
    """One followed market.

    `last_trade_ms`, `last_liquidation_ms`: exchange times of the newest ones received. `lag_ms`:
    from the first trade of the latest second to its reception, by both clocks.
    """

    __slots__ = (
        "_contract",
        "_inverse",
        "_numbers",
        "_seen",
        "_seen_forced",
        "duplicates",
        "exchange",
        "instrument",
        "invalid",
        "lag_ms",
        "last_liquidation_ms",
        "last_trade_ms",
        "liquidations",
        "name",
        "refused",
        "series",
        "trades",
    )

    def __init__(
        self, adapter: Adapter, instrument: Instrument, series: Series, *, numbered: bool = True
    ) -> None:
        """`numbered`: trades carry the venue's numbers, if it numbers them.

        Raises `ValueError` if the instrument's contract size is unknown.
        """
        if instrument.contract_size is None:
            raise ValueError(f"{adapter.market(instrument)}: contract size unknown")
        self.name = series.market
        self.exchange = adapter.name
        self.instrument = instrument
        self.series = series
        self.trades = 0
        self.liquidations = 0
        self.duplicates = 0
        self.invalid = 0
        self.last_trade_ms = 0
        self.last_liquidation_ms = 0
        self.lag_ms = 0
        self.refused = ""
        """Why the venue does not deliver this market; empty if it does."""
        self._contract = instrument.contract_size
        self._inverse = instrument.inverse
        self._numbers = Numbers() if adapter.gapless and numbered else None
        self._seen = RecentIds()
        self._seen_forced = RecentIds(least=256)

    def trade(self, trade: Trade) -> None:
        """Count a trade, unless it was counted before."""
        price, ts_ms, order = trade.price, trade.ts_ms, trade.order
        notional = trade.size * self._contract
        if not self._inverse:
            notional *= price
        if not (0.0 < price < ABSURD_USD and 0.0 < notional < ABSURD_USD):
            self.invalid += 1
            return
        numbers = self._numbers
        if numbers is None:
            if not self._seen.add(trade.id, ts_ms, self.last_trade_ms) and trade.id != "":
                self._repeated(self._seen, ts_ms)
                return
        elif order == numbers.next:
            numbers.next = order + 1
        elif not numbers.add(order, ts_ms, self.last_trade_ms, clock.now_ms()):
            self.duplicates += 1
            return
        series = self.series
        if series.from_ms <= ts_ms < series.to_ms:
            series.current.add(ts_ms, order, price, notional, trade.is_buy)
        elif not self._add_elsewhere(trade, notional):
            return
        self.trades += 1
        if ts_ms > self.last_trade_ms:
            self.last_trade_ms = ts_ms

    def _add_elsewhere(self, trade: Trade, notional: float) -> bool:
        """Add a trade of another period than the current one; False if it does not count."""
        series, ts_ms = self.series, trade.ts_ms
        counts = series.trade(ts_ms, trade.price, notional, trade.is_buy, trade.order)
        if ts_ms > self.last_trade_ms and (counts or ts_ms < series.first_s * 1000):
            self.last_trade_ms = ts_ms
            self.lag_ms = clock.now_ms() - ts_ms
        return counts

    def _repeated(self, seen: RecentIds, ts_ms: int) -> None:
        if ts_ms >= seen.horizon_ms:
            self.duplicates += 1
        else:
            self.series.too_old(ts_ms)

    def liquidation(self, event: Liquidation) -> None:
        """Count a forced order. Without ids, an equal one at the same time is a repetition."""
        price, size = event.price, event.size
        notional = size * self._contract
        if not self._inverse:
            notional *= price
        if not (0.0 < price < ABSURD_USD and 0.0 < notional < ABSURD_USD):
            self.invalid += 1
            return
        ts_ms = event.ts_ms
        key = (ts_ms, price, size, event.is_buy) if event.id == "" else event.id
        if not self._seen_forced.add(key, ts_ms, self.last_liquidation_ms):
            self._repeated(self._seen_forced, ts_ms)
            return
        if self.series.liquidation(ts_ms, price, notional, event.is_buy):
            self.liquidations += 1
            if ts_ms > self.last_liquidation_ms:
                self.last_liquidation_ms = ts_ms

    def rebuild(
        self,
        trades: Sequence[Trade],
        from_s: int,
        to_s: int,
        forced: Mapping[int, tuple[float, float]] | None = None,
    ) -> bool:
        """Replace what is known of the closed seconds [from_s, to_s) by `trades`.

        `trades`: all of the venue's list of that time, in any order. `forced`: notional of forced
        orders by second, where it is known from elsewhere. False if a second was left as it is,
        because the list has less than was received, or because the second is still open: try
        again later.
        """
        told = self._told(trades, from_s * 1000, to_s * 1000)
        fills = [fill for fill, _ in told]
        builder = self.series.builder
        left = builder.rebuild(self.series, fills, from_s, to_s, forced)
        if left:
            told = [(fill, id) for fill, id in told if builder.period(fill.ts_ms) not in left]
        if self._numbers is not None:
            self._numbers.remember(sorted(fill.order for fill, _ in told))
        else:
            oldest_ms = builder.kept_from_s * 1000
            self._seen.remember(
                [(f.ts_ms, id) for f, id in told if f.ts_ms >= oldest_ms and id != ""]
            )
        return not left

    def _told(
        self, trades: Sequence[Trade], from_ms: int, to_ms: int
    ) -> list[tuple[Fill, int | str]]:
        """The valid trades of a list, each once, sorted."""
        if len(trades) > 1 and trades[0].ts_ms > trades[-1].ts_ms:
            # Newest first: without order numbers, the list's own order is what there is.
            trades = trades[::-1]
        found: list[tuple[Fill, int | str]] = []
        ids: set[int | str] = set()
        for t in trades:
            notional = t.size * self._contract * (1.0 if self._inverse else t.price)
            if not (0.0 < t.price < ABSURD_USD and 0.0 < notional < ABSURD_USD):
                self.invalid += 1
            elif from_ms <= t.ts_ms < to_ms and (t.id == "" or t.id not in ids):
                ids.add(t.id)
                found.append((Fill(t.ts_ms, t.order, t.price, notional, t.is_buy), t.id))
        found.sort(key=lambda told: told[0][:2])
        return found

    def take_jumps(self) -> list[tuple[int, int]]:
        """Exchange times (both inclusive) between which trades were lost, each told once.

        Always empty where the venue does not number its trades without gaps.
        """
        return [] if self._numbers is None else self._numbers.take_jumps(clock.now_ms())

    def record(self) -> wire.Market:
        """The market as readers know it."""
        i = self.instrument
        return wire.Market(self.name, self.exchange, i.base, i.quote, i.kind)
