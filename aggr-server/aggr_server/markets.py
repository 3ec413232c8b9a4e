"""A market that is followed: from the venue's unit to dollars, each trade once."""

from __future__ import annotations

from math import inf

from aggr_server import wire
from aggr_server.bars import Series
from aggr_server.dedup import RecentIds
from aggr_server.exchanges.base import Adapter, Instrument, Liquidation, Trade


def sizes(instrument: Instrument, price: float, size: float) -> tuple[float, float] | None:
    """Base coins and quote notional of a published size; None if the contract is unknown."""
    contract = instrument.contract_size
    if contract is None:
        return None
    if instrument.inverse:
        return size * contract / price, size * contract
    return size * contract, size * contract * price


class MarketState:
    """One followed market."""

    __slots__ = (
        "_contract",
        "_inverse",
        "_seen",
        "duplicates",
        "exchange",
        "instrument",
        "invalid",
        "last_trade_ms",
        "liquidations",
        "name",
        "refused",
        "series",
        "trades",
    )

    def __init__(self, adapter: Adapter, instrument: Instrument, series: Series) -> None:
        """Raises `ValueError` if the instrument's contract size is unknown."""
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
        self.refused = ""
        """Why the venue does not deliver this market; empty if it does."""
        self._contract = instrument.contract_size
        self._inverse = instrument.inverse
        self._seen = RecentIds()

    def trade(self, trade: Trade) -> None:
        """Count a trade, unless it was counted before."""
        price, size = trade.price, trade.size
        if not (0.0 < price < inf and 0.0 < size < inf):
            self.invalid += 1
            return
        if not self._seen.add(trade.id) and trade.id != "":
            self.duplicates += 1
            return
        notional = size * self._contract
        if not self._inverse:
            notional *= price
        ts_ms = trade.ts_ms
        if self.series.trade(ts_ms, price, notional, trade.is_buy, trade.order):
            self.trades += 1
            if ts_ms > self.last_trade_ms:
                self.last_trade_ms = ts_ms

    def liquidation(self, event: Liquidation) -> None:
        """Count a forced order. Without ids, an equal one at the same time is a repetition."""
        if not (0.0 < event.price < inf and 0.0 < event.size < inf):
            self.invalid += 1
            return
        key = f"{event.ts_ms}/{event.price}/{event.size}/{event.is_buy}"
        if not self._seen.add(key):
            self.duplicates += 1
            return
        notional = event.size * self._contract
        if not self._inverse:
            notional *= event.price
        if self.series.liquidation(event.ts_ms, event.price, notional, event.is_buy):
            self.liquidations += 1

    def record(self) -> wire.Market:
        """The market as readers know it."""
        i = self.instrument
        return wire.Market(self.name, self.exchange, i.base, i.quote, i.kind)
