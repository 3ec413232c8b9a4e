"""A simulated position on an isolated margin, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.records import Signal


@dataclass(slots=True)
class Position:
    """`amount`: base coins; `stake`: margin in quote; prices in quote per base; `s`: +1 or -1.

    `funding`: received so far in quote, negative if paid.
    """

    trade_id: int
    signal: Signal
    s: int
    amount: float
    stake: float
    leverage: float
    entry_s: int
    entry_price: float
    entry_fee: float
    last: float
    funding: float = 0.0
    worst: float = 0.0
    best: float = 0.0

    def profit(self, price: float) -> float:
        """Unrealised profit in quote, before fees and funding."""
        return self.s * self.amount * (price - self.entry_price)

    def marked(self) -> float:
        """What it adds to the equity at its last price, entry fee and funding included."""
        return self.profit(self.last) - self.entry_fee + self.funding

    def liquidation_price(self, maintenance_rate: float) -> float:
        """Where margin plus profit equals the maintenance margin of the notional.

        stake + s * amount * (P - entry) = m * amount * P, solved for P; the margin is isolated, so
        that nothing else stands behind it. Formula: Binance, liquidation price of one isolated
        position, with a single maintenance bracket.
        """
        share = self.s / self.leverage
        return self.entry_price * (1.0 - share) / (1.0 - self.s * maintenance_rate)

    def see(self, high: float, low: float, close: float) -> None:
        """A second has passed: excursions and last price."""
        best, worst = (high, low) if self.s > 0 else (low, high)
        self.best = max(self.best, self.s * (best / self.entry_price - 1.0))
        self.worst = min(self.worst, self.s * (worst / self.entry_price - 1.0))
        self.last = close


def slipped(price: float, side: int, slippage_bp: float) -> float:
    """What a buyer (+1) pays or a seller (-1) gets."""
    return price * (1.0 + side * slippage_bp / 10_000.0)
