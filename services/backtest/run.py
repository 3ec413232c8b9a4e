"""The live desk on recorded markets: one evaluation a second, decided by the live code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aggr_server.wire import Market
from services.backtest.broker import Broker, Quote, Quotes
from services.backtest.ledger import Clock, Ledger, SoleOwner, Watch
from services.backtest.player import Player
from services.backtest.result import Costs
from services.backtest.sources.table import Progress, silent
from services.backtest.sources.tape import Tape
from services.core.records import Fill
from services.freqtrade_client import Trade
from services.market.bars import ClosedBars
from services.market.symbols import base_of_symbol, pair_of
from services.strategy.params import Params
from services.trading.app import entry_limits
from services.trading.desk import Desk, Pace
from services.trading.fills import FillBook
from services.trading.portfolio import DAY_MS, Portfolio
from services.trading.signals import FAST_TTL_S

REFRESH_S = 60
MARK_S = 60
PROGRESS_S = 600


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: symbols with the market that executes each, over [from_s, to_s).

    `skipping`: seconds that need no look are processed in bulk; off only to prove the same result.
    """

    tapes: tuple[Tape, ...]
    execution: dict[str, Market]
    from_s: int
    to_s: int
    params: Params = field(default_factory=Params)
    costs: Costs = field(default_factory=Costs)
    skipping: bool = True


class Run:
    """One pass. Afterwards `broker`, `ledger` and `marks` hold what happened."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.players = [
            Player(
                tape,
                plan.execution[tape.base],
                plan.params,
                plan.from_s,
                plan.to_s,
                skipping=plan.skipping,
            )
            for tape in sorted(plan.tapes, key=lambda tape: tape.base)
        ]
        self._clock = Clock(plan.from_s * 1000)
        self.ledger = Ledger()
        limits = entry_limits(plan.params)
        self.validator = Watch(limits)
        self._portfolio = Portfolio(
            integrated=True, now_ms=self._clock, max_daily_loss=plan.params.max_daily_loss
        )
        self.broker = Broker(plan.costs, self._filled)
        symbols = [player.symbol for player in self.players]
        self.desk = Desk(
            [player.trader for player in self.players],
            validator=self.validator,
            portfolio=self._portfolio,
            outbox=self.ledger,
            record=self.ledger,
            leases=SoleOwner(symbols),
            pace=Pace(FAST_TTL_S, limits.max_age_s, keeps_state=False),
            now_ms=self._clock,
        )
        self._book = FillBook(self.desk, self._unexpected)
        self._refreshed_s: int | None = None
        self.marks: list[tuple[int, float]] = []
        self.exposed_s = 0

    def go(self, progress: Progress = silent) -> None:
        """Run from the first second to the last."""
        for player in self.players:
            player.load()
            self._begin(player)
            self.broker.charge(player.symbol, player.tape.funding)
        active = [p for p in self.players if p.next_t < p.end_s]
        self.marks.append((self.plan.from_s, self.broker.equity))
        told = self.plan.from_s
        while active:
            t = min(p.next_t for p in active)
            self._mark(t)
            due = [p for p in active if p.next_t == t]
            self._second(t, due)
            for player in due:
                self._proceed(player, active)
                if player.next_t >= player.end_s:
                    self._end(player)
            active = [p for p in active if p.next_t < p.end_s]
            if t - told >= PROGRESS_S:
                told = t
                progress((t - self.plan.from_s) / (self.plan.to_s - self.plan.from_s))
        end_s = max(p.end_s for p in self.players)
        self._mark(end_s)
        if self.marks[-1][0] < end_s or self.broker.equity != self.marks[-1][1]:
            self.marks[-1:] = [m for m in self.marks[-1:] if m[0] < end_s]
            self.marks.append((end_s, self.broker.equity))
        progress(1.0)

    def _second(self, t: int, due: Sequence[Player]) -> None:
        self._clock.now_ms = (t + 1) * 1000
        self.exposed_s += bool(self.broker.positions)
        quotes: dict[str, Quote] = {}
        for player in due:
            if (quote := player.quote(t)) is None:
                continue
            quotes[player.symbol] = quote
            if self.broker.busy(player.symbol):
                self.broker.second(player.symbol, t, quote)
        if self._refreshed_s is None or t // REFRESH_S != self._refreshed_s // REFRESH_S:
            self._refresh(t)
        self.desk.step_some([player.trader for player in due], _together(t, due))
        self._execute(t, quotes)

    def _proceed(self, player: Player, active: Sequence[Player]) -> None:
        """Let a player go on behind the second just processed."""
        symbol, t = player.symbol, player.next_t + 1
        if not self.broker.busy(symbol):
            player.proceed(player.end_s)
            return
        # What an open position is worth may matter in the others' next seconds.
        to_s = min((p.next_t for p in active if p is not player), default=player.end_s)
        to_s = min(to_s, player.end_s)
        if to_s <= t:
            player.proceed(t)
            return
        quotes = player.quotes(t, to_s)
        player.proceed(t + self.broker.calm(symbol, t, quotes))
        self._hold(symbol, t, quotes.part(0, player.next_t - t))

    def _hold(self, symbol: str, t: int, quotes: Quotes) -> None:
        """Calm seconds from `t` on have passed for the only symbol with anything to do."""
        count = len(quotes.close)
        self.exposed_s += count
        done = 0
        for i in range(-t % REFRESH_S, count, REFRESH_S):
            self.broker.hold(symbol, quotes.part(done, i))
            self._mark(t + i)
            self.broker.hold(symbol, quotes.part(i, i + 1))
            self._clock.now_ms = (t + i + 1) * 1000
            self._refresh(t + i)
            done = i + 1
        self.broker.hold(symbol, quotes.part(done, count))

    def _execute(self, t: int, quotes: dict[str, Quote]) -> None:
        fresh, self.ledger.fresh = self.ledger.fresh, []
        for signal in fresh:
            if signal.event == "CANCEL":
                self.broker.withdraw(signal.symbol)
                continue
            self.broker.order(signal, t)
            if (quote := quotes.get(signal.symbol)) is not None:
                self.broker.execute(signal.symbol, t, quote)

    def _filled(self, fill: Fill) -> None:
        if not self._book.apply(fill):
            raise RuntimeError(f"fill of {fill.symbol} not taken: {fill}")
        self._refresh(fill.ts_ms // 1000)

    def _refresh(self, t: int) -> None:
        """Tell the portfolio what the executor holds, as freqtrade does when asked."""
        self._refreshed_s = t
        midnight = self._clock.now_ms - self._clock.now_ms % DAY_MS
        closed = []
        for row in reversed(self.broker.trades):
            if row.exit_ms < midnight:
                break
            closed.append(_trade(row.trade_id, row.symbol, row.direction, row.exit_ms, row.pnl))
        opened = [
            _trade(
                p.trade_id, symbol, p.s, p.entry_s * 1000, p.marked(), is_open=True
            )
            for symbol, p in self.broker.positions.items()
        ]  # fmt: skip
        self._portfolio.update(opened, closed, self.broker.equity, dry_run=True)
        self._portfolio.mode = "backtest"

    def _begin(self, player: Player) -> None:
        state = str(player.trader.engine.state)
        direction = player.trader.engine.direction
        self.ledger.moved(player.symbol, player.begin_s, state, "start", direction)

    def _end(self, player: Player) -> None:
        last = player.end_s - 1
        self._clock.now_ms = player.end_s * 1000
        self.broker.end(player.symbol, last)
        self.ledger.end(player.symbol, last)

    def _mark(self, t: int) -> None:
        """Note the equity at each minute's end up to `t`, since which nothing has changed."""
        due = (self.marks[-1][0] // MARK_S + 1) * MARK_S
        while due <= t:
            self.marks.append((due, self.broker.equity))
            due += MARK_S

    @staticmethod
    def _unexpected() -> None:
        raise RuntimeError("the simulated executor reported a trade that the desk does not know")


def _together(t: int, players: Sequence[Player]) -> ClosedBars:
    if len(players) == 1:
        return players[0].closed(t)
    parts = [player.closed(t) for player in players]
    bars = {base: found for part in parts for base, found in part.bars.items()}
    return ClosedBars(t, bars, silent=frozenset().union(*(part.silent for part in parts)))


def _trade(
    trade_id: int, symbol: str, s: int, ts_ms: int, profit: float, *, is_open: bool = False
) -> Trade:
    return Trade(
        trade_id=trade_id,
        pair=pair_of(base_of_symbol(symbol)),
        is_short=s < 0,
        is_open=is_open,
        open_timestamp=ts_ms,
        open_rate=0.0,
        profit_abs=profit if is_open else None,
        close_timestamp=None if is_open else ts_ms,
        close_profit_abs=None if is_open else profit,
    )
