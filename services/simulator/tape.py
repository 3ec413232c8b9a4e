"""What one venue can tell of its past: trades, prices, open interest, by its own clock.

Times are absolute UTC milliseconds.
"""

from __future__ import annotations

from services.simulator.candles import Candles
from services.simulator.faults import Faults
from services.simulator.instruments import Instrument, Trade
from services.simulator.market import FIRST_ID, Market

_FIRST_SPAN_S = 64
_MOST_PER_SECOND = 512


class Tape:
    """The market as the venue `exchange` publishes it: nothing that has not happened yet."""

    def __init__(self, market: Market, exchange: str, faults: Faults) -> None:
        self._market = market
        self._exchange = exchange
        self._faults = faults

    def clock(self) -> int:
        """The venue's own time."""
        return self._market.clock() + self._faults.clock_offset_ms(self._exchange)

    def since(self, market: str, from_ms: int, to_ms: int, limit: int) -> list[Trade]:
        """The first trades with from_ms <= ts_ms <= to_ms that were made by now."""
        to_ms = min(to_ms, self._newest_ms())
        found: list[Trade] = []
        ledger = self._market.ledger
        for trade in ledger.trades(from_ms // 1000, to_ms // 1000 + 1, market):
            if from_ms <= trade.ts_ms <= to_ms:
                found.append(trade)
                if len(found) == limit:
                    break
        return found

    def before(self, market: str, before_ms: int, limit: int) -> list[Trade]:
        """The last trades with ts_ms < before_ms that were made by now, oldest first."""
        live_from = self._market.live_from
        end_ms = min(before_ms, self._newest_ms() + 1)
        end = (end_ms - 1) // 1000 + 1
        found: list[Trade] = []
        span = _FIRST_SPAN_S
        while end > (live_from or end) and len(found) < limit:
            start = end - span
            pieces = self._market.ledger.trades(start, end, market)
            found = [t for t in pieces if t.ts_ms < end_ms] + found
            end, span = start, span * 2
        return found[-limit:]

    def from_id(self, market: str, trade_id: int, limit: int) -> list[Trade]:
        """The first trades with an id of at least `trade_id` that were made by now."""
        second = self._market.ledger.second_of(market, trade_id)
        if second is None:
            return []
        found = self.since(market, second * 1000, self._newest_ms(), limit + _MOST_PER_SECOND)
        return [trade for trade in found if trade.id >= trade_id][:limit]

    def before_id(self, market: str, trade_id: int, limit: int) -> list[Trade]:
        """The last trades with an id below `trade_id`, oldest first."""
        found = self.from_id(market, max(FIRST_ID, trade_id - limit), limit)
        return [trade for trade in found if trade.id < trade_id]

    def last_price(self, instrument: Instrument) -> float:
        """Price of the newest trade, or of the model if there was none lately."""
        newest = self.before(instrument.market, self.clock() + 1, 1)
        if newest:
            return newest[0].ticks / 10.0**instrument.price_decimals
        now = self._market.relative()
        bar = self._market.coarse_bars(instrument, now, now + 1)
        return float(bar.close[0])

    def open_interest(self, instrument: Instrument, second: int | None = None) -> float:
        """Coins open in a perpetual, one-sided."""
        return self._market.open_interest(instrument, second)

    def candles(self, instrument: Instrument) -> Candles:
        """Candles of a market up to now."""
        return self._market.candles(instrument)

    def _newest_ms(self) -> int:
        return self.clock() - self._faults.rest_lag_ms(self._exchange)
