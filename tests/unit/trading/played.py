"""A symbol led through a scenario by the desk, as strategy-runner leads it, without its servers."""

from __future__ import annotations

import msgspec

from services.backtest.ledger import Ledger, SoleOwner
from services.core.records import Fill
from services.core.views import View, Wait
from services.market.aggregate import Aggregator
from services.market.symbols import pair_of
from services.signal_validator import SignalValidator
from services.strategy.engine import SymbolEngine
from services.strategy.params import Params
from services.strategy.types import State
from services.trading.app import entry_limits
from services.trading.desk import Desk, Pace
from services.trading.fills import FillBook
from services.trading.permits import Permits
from services.trading.portfolio import Portfolio
from services.trading.signals import FAST_TTL_S
from services.trading.symbol import SymbolTrader
from services.trading.views import view_of
from tests.unit.market.worlds import EXCHANGE
from tests.unit.market.worlds import scenario as columns_of
from tests.unit.strategy.scenarios import SCENARIOS, generate

SYMBOL = "BTCUSDT"


def _engine(base: str, params: Params, epoch: str) -> SymbolEngine:
    return SymbolEngine(base, params, epoch="test")


class Played:
    """`t`: the last second processed. Seconds are those of the scenario, without reading a clock.

    `leads`: whether the lease on the symbol is certain.
    """

    def __init__(self, name: str, params: Params | None = None) -> None:
        self.params = params or Params()
        made = generate(SCENARIOS[name])
        self.start, self.stop = made.start, made.start + len(made)
        self._columns = columns_of(made)
        self.trader = SymbolTrader("BTC", self.params, EXCHANGE, _engine)
        self.trader.aggregator = Aggregator([m.market for m in self._columns.markets], EXCHANGE)
        if made.oi is not None:
            for i in range(0, len(made), 60):
                self.trader.oi.add(EXCHANGE, made.start + i, float(made.oi[i]))
        self.trader.live = True
        self.t = self.start - 1
        self.validator = SignalValidator(entry_limits(self.params))
        self.portfolio = Portfolio(integrated=False, now_ms=self.now_ms)
        self.leads = True
        self.leases = SoleOwner([SYMBOL])
        self.desk = Desk(
            [self.trader],
            validator=self.validator,
            portfolio=self.portfolio,
            outbox=Ledger(),
            record=Ledger(),
            leases=self.leases,
            pace=Pace(FAST_TTL_S, 5, keeps_state=False),
            now_ms=self.now_ms,
        )
        self._book = FillBook(self.desk, lambda: None)

    def now_ms(self) -> int:
        return (self.t + 1) * 1000 + 200

    @property
    def state(self) -> State:
        return self.trader.engine.state

    def step(self) -> None:
        """Process the next second."""
        self.t += 1
        self.desk.second(self._columns.closed(self.t))

    def to(self, t: int) -> None:
        """Process everything up to second `t`."""
        while self.t < t:
            reached = self.trader.skip(self._columns, self.t + 1, t + 1)
            self.t = reached - 1
            if self.t < t:
                self.step()

    def until(self, state: State) -> None:
        """Process seconds until the symbol is in `state`."""
        while self.state is not state:
            if self.t + 1 == self.stop:
                raise AssertionError(f"{state} not reached")
            self.step()

    def fill(self) -> None:
        """The signal that waits is filled at the newest price."""
        assert self.trader.signal is not None
        self._report("opened", self.trader.signal.signal_id)

    def close(self) -> None:
        """The position is closed."""
        assert self.trader.holding is not None
        self._report("closed", self.trader.holding.signal_id)

    def _report(self, event: str, signal_id: str) -> None:
        fill = msgspec.convert(
            {
                "event": event,
                "signal_id": signal_id,
                "symbol": SYMBOL,
                "pair": pair_of("BTC"),
                "side": "long" if self.trader.engine.direction > 0 else "short",
                "ts_ms": (self.t + 1) * 1000 - 1,
                "trade_id": 1,
                "price": self.trader.price,
                "reason": "squeezeflow",
            },
            Fill,
        )
        self._book.apply(fill)

    def view(self) -> View:
        """The symbol now, as it is told."""
        return view_of(self.trader, Permits(self.desk, self._held), self.now_ms())

    def _held(self, _: str) -> bool:
        return self.leads


def unmet(view: View, *kinds: str) -> dict[str, Wait]:
    """Conditions that are not met, by code; all kinds without `kinds`."""
    return {w.code: w for w in view.waits if not w.met and (not kinds or w.kind in kinds)}
