"""One symbol of a run: its trader, its tape, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from aggr_server.wire import Market
from services.backtest.broker import Quote, Quotes
from services.backtest.sources.tape import Floats, Tape
from services.market.aggregate import Aggregator
from services.market.bars import ClosedBars
from services.market.columns import Columns
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import Entry, Event, State, Transition
from services.trading.loader import SCALE_MINUTES
from services.trading.symbol import SymbolTrader


def make_engine(name: str, base: str, params: Params, epoch: str) -> SymbolEngine:
    """An engine whose CVD origin has a name of its own, so that two runs give the same."""
    return SymbolEngine(base, params, epoch=name)


class Player:
    """Seconds of [begin_s, end_s) are to be decided in; those before are history.

    `next_t`: the next second to be processed one by one.
    """

    def __init__(
        self,
        tape: Tape,
        execution: Market,
        params: Params,
        from_s: int,
        to_s: int,
        *,
        skipping: bool = True,
    ) -> None:
        self.tape = tape
        self.execution = execution
        self.begin_s = max(from_s, tape.first_s, tape.begin_s)
        self.end_s = min(to_s, tape.end_s)
        epoch = f"{tape.base}:{self.begin_s}"
        engine = partial(make_engine, epoch)
        self.trader = SymbolTrader(tape.base, params, execution.exchange, engine)
        self._skipping = skipping
        self._column = next(i for i, m in enumerate(tape.markets) if m == execution)
        self._pieces: Iterator[Columns] = iter(())
        self._columns: Columns | None = None
        self._closes: Floats = np.empty(0)
        self._close = 0.0
        self.next_t = self.begin_s
        self.history_min = 0
        self.warm_from_s: int | None = None

    @property
    def symbol(self) -> str:
        return self.trader.names.symbol

    def load(self) -> None:
        """Bring the trader up to `begin_s`, the way a live one is loaded: no entry is kept."""
        lookback_s = self.trader.params.lookback_s
        wanted = (self.begin_s - lookback_s) // 60 * 60
        start = max(wanted, self.tape.first_s)
        start = min(-(-start // 60) * 60, self.begin_s)
        self._preload(wanted - (SCALE_MINUTES - lookback_s // 60) * 60, start)
        self._pieces = self.tape.columns(start, self.end_s)
        t = start
        while t < self.begin_s:
            columns = self._at(t)
            t = self._skip(columns, t, min(columns.to_s, self.begin_s))
            if t < min(columns.to_s, self.begin_s):
                for event in self.trader.step(columns.closed(t)):
                    self.saw(event)
                    if isinstance(event, Entry):
                        self.trader.engine.expire()
                t += 1
        self.trader.live = True
        if self.warm_from_s is None and self.trader.engine.state is not State.WARMUP:
            self.warm_from_s = self.begin_s

    def saw(self, event: Event) -> None:
        """Note when the warm-up ends."""
        if isinstance(event, Transition) and event.previous is State.WARMUP:
            self.warm_from_s = event.t

    def closed(self, t: int) -> ClosedBars:
        """Second `t` as the live loop gets it; `t` never goes back."""
        return self._at(t).closed(t)

    def quote(self, t: int) -> Quote | None:
        """The execution market in second `t`; None before its first trade."""
        columns = self._at(t)
        i = t - columns.from_s
        market = columns.markets[self._column]
        if market.buy[i] + market.sell[i] > 0.0:
            return Quote(
                float(market.open[i]),
                float(market.high[i]),
                float(market.low[i]),
                float(market.close[i]),
            )
        close = float(self._closes[i])
        return Quote(close, close, close, close) if close > 0.0 else None

    def quotes(self, t: int, to_s: int) -> Quotes:
        """The execution market from second `t` on, at most up to `to_s`; it has traded before.

        Empty if no second can be skipped there.
        """
        columns = self._at(t)
        skips = self.trader.engine.skips(t) if self._skipping else 0
        to_s = t if skips == 0 else min(to_s, columns.to_s)
        part = slice(t - columns.from_s, to_s - columns.from_s)
        market, close = columns.markets[self._column], self._closes[part]
        traded = market.buy[part] + market.sell[part] > 0.0
        high, low = (np.where(traded, p[part], close) for p in (market.high, market.low))
        return Quotes(high, low, close)

    def proceed(self, to_s: int) -> None:
        """Go on behind second `next_t`, at most to `to_s`, over what needs no look."""
        self.next_t += 1
        to_s = min(to_s, self.end_s)
        if self.next_t < to_s:
            columns = self._at(self.next_t)
            self.next_t = self._skip(columns, self.next_t, min(columns.to_s, to_s))

    def _skip(self, columns: Columns, t: int, to_s: int) -> int:
        return self.trader.skip(columns, t, to_s) if self._skipping else t

    def _preload(self, from_s: int, start: int) -> None:
        trader, tape = self.trader, self.tape
        trader.aggregator = Aggregator(tape.markets, self.execution.exchange)
        minutes = tape.minutes_between(self.execution, from_s, start) if start % 60 == 0 else []
        if minutes and minutes[-1].t + 60 != start:
            minutes = []
        self.history_min = len(minutes)
        trader.filled = tape.filled
        trader.oi = tape.open_interest()
        trader.engine.preload_minutes(minutes)
        trader.aggregator.seed(tape.volumes_before(start), minutes[-1].close if minutes else None)
        self._close = minutes[-1].close if minutes else 0.0

    def _at(self, t: int) -> Columns:
        while self._columns is None or t >= self._columns.to_s:
            if len(self._closes):
                self._close = float(self._closes[-1])
            self._columns = next(self._pieces)
            self._closes = self._known_closes(self._columns)
        return self._columns

    def _known_closes(self, columns: Columns) -> Floats:
        """The last close as of each second, 0 before the first."""
        market = columns.markets[self._column]
        traded = market.buy + market.sell > 0.0
        at = np.maximum.accumulate(np.where(traded, np.arange(len(traded)), -1))
        return np.where(at >= 0, market.close[at], self._close)
