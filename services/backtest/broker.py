"""The execution engine of a backtest: answers signals with fills, as freqtrade does live.

Rules are those of the executor: an order is filled once, at most `max_open_trades` at a time, not
further than `max_deviation` from the signal's price, with the signal's stop resting on the
exchange from the fill on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from services.backtest.positions import Position, slipped
from services.backtest.result import Costs, Refusal, TradeRow
from services.backtest.sources.tape import Floats, FundingSample
from services.core.records import Fill, Signal
from services.influx_signal_manager import score_tier

CATASTROPHIC_STOP = "CATASTROPHIC_STOP"
LIQUIDATION = "LIQUIDATION"
END_OF_DATA = "END_OF_DATA"
TRADABLE = 0.99
MAX_SIZE_FACTOR = 1.5


class Quote(NamedTuple):
    """The execution market in one second; the last price four times where it did not trade."""

    open: float
    high: float
    low: float
    close: float


class Quotes(NamedTuple):
    """The same of seconds in a row, one element a second."""

    high: Floats
    low: Floats
    close: Floats

    def part(self, start: int, stop: int) -> Quotes:
        """The elements [start, stop)."""
        return Quotes(self.high[start:stop], self.low[start:stop], self.close[start:stop])


class _Order(NamedTuple):
    signal: Signal
    due_s: int


class Broker:
    """Simulated fills. One call of `second` for each second in which a symbol has business here.

    `report` is told each fill at once, before anything else happens.
    """

    def __init__(self, costs: Costs, report: Callable[[Fill], None]) -> None:
        self.costs = costs
        self._report = report
        self._orders: dict[str, _Order] = {}
        self._funding: dict[str, dict[int, float]] = {}
        self._last_id = 0
        self.positions: dict[str, Position] = {}
        self.trades: list[TradeRow] = []
        self.refusals: list[Refusal] = []
        self.realised = 0.0
        self.turnover = 0.0

    def charge(self, symbol: str, funding: Sequence[FundingSample]) -> None:
        """Have positions in the symbol pay these rates."""
        self._funding[symbol] = {sample.ts_ms // 1000: sample.rate for sample in funding}

    def order(self, signal: Signal, t: int) -> None:
        """A signal was published in second `t`."""
        self._orders[signal.symbol] = _Order(signal, t + self.costs.fill_delay_s)

    def withdraw(self, symbol: str) -> None:
        """The signal of the symbol is gone; an order for it that was not filled is, too."""
        self._orders.pop(symbol, None)

    def busy(self, symbol: str) -> bool:
        """Whether an order or a position of the symbol is open."""
        return symbol in self._orders or symbol in self.positions

    def second(self, symbol: str, t: int, quote: Quote) -> None:
        """Second `t` has passed on the execution market: funding, stop, then orders due."""
        position = self.positions.get(symbol)
        if position is not None:  # opened in an earlier second
            position.see(quote.high, quote.low, quote.close)
            self._fund(position, t)
            self._guard(position, t, quote)
        self.execute(symbol, t, quote)

    def execute(self, symbol: str, t: int, quote: Quote) -> None:
        """Fill the symbol's order if it is due in second `t`."""
        order = self._orders.get(symbol)
        if order is None or t < order.due_s:
            return
        if order.signal.action == "CLOSE":
            del self._orders[symbol]
            self._close_asked(order.signal, t, quote)
        elif self._open(order.signal, t, quote):
            del self._orders[symbol]

    def calm(self, symbol: str, t: int, quotes: Quotes) -> int:
        """How many of the seconds from `t` on come before one that needs `second`.

        In these the position only changes its worth, as `hold` sees to; none with an order.
        """
        position, count = self.positions.get(symbol), len(quotes.close)
        if position is None or symbol in self._orders:
            return 0
        s, stop = position.s, position.signal.stop_price
        adverse = quotes.low if s > 0 else quotes.high
        ends = s * (adverse - position.liquidation_price(self.costs.maintenance_rate)) <= 0.0
        if stop is not None:
            ends |= s * (adverse - stop) <= 0.0
        if ends.any():
            count = int(np.argmax(ends))
        charged = (ts - t for ts in self._funding.get(symbol, ()) if ts >= t)
        return min(count, min(charged, default=count))

    def hold(self, symbol: str, quotes: Quotes) -> None:
        """Calm seconds have passed for the symbol's position."""
        if len(quotes.close):
            high, low = float(quotes.high.max()), float(quotes.low.min())
            self.positions[symbol].see(high, low, float(quotes.close[-1]))

    def end(self, symbol: str, t: int) -> None:
        """The symbol's data end after second `t`: close what is open at its last price."""
        self._orders.pop(symbol, None)
        if (position := self.positions.get(symbol)) is not None:
            self._close(position, t, position.last, END_OF_DATA)

    @property
    def equity(self) -> float:
        """Wallet plus open positions at their last prices, before the fees of closing them."""
        opened = sum(position.marked() for position in self.positions.values())
        return self.costs.wallet + self.realised + opened

    def _open(self, signal: Signal, t: int, quote: Quote) -> bool:
        """False if the order must wait for a slot or for money."""
        if len(self.positions) >= self.costs.max_open_trades:
            return self._waits(signal, t, "no_free_slot")
        free = TRADABLE * (self.costs.wallet + self.realised) - self._tied_up()
        if free < self.costs.stake:
            return self._waits(signal, t, "wallet_exhausted")
        s = 1 if signal.action == "LONG" else -1
        price = slipped(quote.close, s, self.costs.slippage_bp)
        if deviates(signal, price):
            self._refused(signal, t, "price_deviation")
            self._report(_rejected(signal, t, "price_deviation"))
            return True
        leverage = leverage_of(signal, self.costs.max_leverage)
        bearable = largest_at_risk(signal, leverage, self.equity, self.costs.risk_frac)
        stake = stake_of(signal, self.costs.stake, min(free, bearable))
        amount = stake * leverage / price
        self._last_id += 1
        fee = self.costs.fee_rate * amount * price
        self.turnover += amount * price
        position = Position(
            self._last_id, signal, s, amount, stake, leverage, t, price, fee, quote.close
        )
        self.positions[signal.symbol] = position
        self._report(_fill("opened", position, t, price))
        return True

    def _guard(self, position: Position, t: int, quote: Quote) -> None:
        s = position.s
        adverse = quote.low if s > 0 else quote.high
        liquidation = position.liquidation_price(self.costs.maintenance_rate)
        stop = position.signal.stop_price
        if stop is not None and s * (adverse - stop) <= 0.0:
            # A market that opens beyond the stop fills it there.
            reached = min(stop, quote.open) if s > 0 else max(stop, quote.open)
            if s * (reached - liquidation) > 0.0:
                price = slipped(reached, -s, self.costs.slippage_bp)
                self._close(position, t, price, CATASTROPHIC_STOP)
                return
        if s * (adverse - liquidation) <= 0.0:
            self._close(position, t, liquidation, LIQUIDATION)

    def _fund(self, position: Position, t: int) -> None:
        rate = self._funding.get(position.signal.symbol, {}).get(t, 0.0)
        position.funding -= position.s * rate * position.amount * position.last

    def _close_asked(self, signal: Signal, t: int, quote: Quote) -> None:
        position = self.positions.get(signal.symbol)
        if position is None or position.signal.signal_id != signal.parent_signal_id:
            return
        price = slipped(quote.close, -position.s, self.costs.slippage_bp)
        self._close(position, t, price, f"sf_{(signal.exit_reason or 'close').lower()}")

    def _close(self, position: Position, t: int, price: float, reason: str) -> None:
        symbol = position.signal.symbol
        fee = self.costs.fee_rate * position.amount * price
        pnl = position.profit(price) - position.entry_fee - fee + position.funding
        if reason == LIQUIDATION:  # the whole margin is gone, and no more than that
            fee = 0.0
            pnl = -position.stake - position.entry_fee + position.funding
        self.realised += pnl
        self.turnover += position.amount * price
        del self.positions[symbol]
        self._orders.pop(symbol, None)
        self.trades.append(_row(position, t, price, reason, fee, pnl))
        self._report(
            _fill(
                "closed",
                position,
                t,
                price,
                reason=reason,
                pnl=pnl,
                pnl_ratio=pnl / position.stake,
            )
        )

    def _tied_up(self) -> float:
        return sum(position.stake for position in self.positions.values())

    def _waits(self, signal: Signal, t: int, reason: str) -> Literal[False]:
        if not any(r.signal_id == signal.signal_id for r in self.refusals):
            self._refused(signal, t, reason)
        return False

    def _refused(self, signal: Signal, t: int, reason: str) -> None:
        self.refusals.append(
            Refusal(
                symbol=signal.symbol,
                t=t,
                by="execution",
                reason=reason,
                signal_id=signal.signal_id,
                setup_id=signal.setup_id,
            )
        )


def deviates(signal: Signal, rate: float) -> bool:
    """Whether the market has left the price the signal was meant for."""
    return abs(math.log(rate / signal.entry_price)) > signal.max_deviation


def stake_of(signal: Signal, stake: float, largest: float) -> float:
    """Margin in quote: the plain stake times the signal's factor, at most `largest`."""
    return min(stake * min(signal.position_size_factor, MAX_SIZE_FACTOR), largest)


def largest_at_risk(signal: Signal, leverage: float, equity: float, risk_frac: float) -> float:
    """Margin with which the way to the invalidation price costs `risk_frac` of the equity.

    Infinite if `risk_frac` is 0.
    """
    distance = abs(math.log(signal.entry_price / signal.invalidation_price))
    if risk_frac <= 0.0 or distance == 0.0:
        return math.inf
    return risk_frac * max(equity, 0.0) / (leverage * distance)


def leverage_of(signal: Signal, limit: int) -> float:
    """The signal's leverage, capped, at least 1."""
    return max(1.0, min(float(signal.leverage), float(limit)))


def _row(position: Position, t: int, price: float, reason: str, fee: float, pnl: float) -> TradeRow:
    signal = position.signal
    risk = position.amount * abs(position.entry_price - signal.invalidation_price)
    return TradeRow(
        trade_id=position.trade_id,
        signal_id=signal.signal_id,
        setup_id=signal.setup_id,
        symbol=signal.symbol,
        direction=1 if position.s > 0 else -1,
        score=signal.score,
        tier=score_tier(signal.score),
        breakdown=dict(signal.score_breakdown),
        size_factor=signal.position_size_factor,
        leverage=position.leverage,
        stake=position.stake,
        amount=position.amount,
        entry_ms=_ms(position.entry_s),
        entry_price=position.entry_price,
        signal_price=signal.entry_price,
        invalidation_price=signal.invalidation_price,
        stop_price=signal.stop_price,
        exit_ms=_ms(t),
        exit_price=price,
        exit_reason=reason.removeprefix("sf_").upper(),
        fees=position.entry_fee + fee,
        funding=position.funding,
        pnl=pnl,
        return_on_stake=pnl / position.stake,
        r_multiple=pnl / risk if risk > 0.0 else None,
        holding_s=float(t - position.entry_s),
        mae=position.worst,
        mfe=position.best,
        open_at_end=reason == END_OF_DATA,
    )


def _fill(
    event: Literal["opened", "closed"],
    position: Position,
    t: int,
    price: float,
    *,
    reason: str = "",
    pnl: float = 0.0,
    pnl_ratio: float = 0.0,
) -> Fill:
    return Fill(
        event=event,
        signal_id=position.signal.signal_id,
        symbol=position.signal.symbol,
        pair=position.signal.pair,
        side="long" if position.s > 0 else "short",
        ts_ms=_ms(t),
        trade_id=position.trade_id,
        price=price,
        amount=position.amount,
        stake=position.stake,
        leverage=position.leverage,
        reason=reason,
        pnl=pnl,
        pnl_ratio=pnl_ratio,
    )


def _rejected(signal: Signal, t: int, reason: str) -> Fill:
    return Fill(
        event="rejected",
        signal_id=signal.signal_id,
        symbol=signal.symbol,
        pair=signal.pair,
        side="long" if signal.action == "LONG" else "short",
        ts_ms=_ms(t),
        price=signal.entry_price,
        leverage=float(signal.leverage),
        reason=reason,
    )


def _ms(t: int) -> int:
    """The end of second `t`, still in it."""
    return t * 1000 + 999
