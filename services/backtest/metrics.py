"""Standard figures of a backtest. What is not defined is None, never 0.

Sources: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994); Sortino and Price,
"Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994); Young,
"Calmar Ratio", Futures (1991); Tharp, "Trade Your Way to Financial Freedom" (R multiples).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import Literal

import numpy as np

from services.backtest.result import Curve, Group, Groups, Metrics, TradeRow
from services.backtest.sources.tape import Floats

YEAR_S = 365 * 86_400
DAYS_NEEDED = 30
MIN_RETURNS = 24
SHORTEST_CAGR_S = 7 * 86_400
TIERS = ("high", "medium", "low")

_PERIODS: tuple[tuple[Literal["daily", "hourly"], int], ...] = (("daily", 86_400), ("hourly", 3600))


def curve_of(marks: Sequence[tuple[int, float]]) -> Curve:
    """The equity and how far it lies below its highest value so far, as a fraction of that."""
    equity = np.array([value for _, value in marks])
    peak = np.maximum.accumulate(equity)
    drawdown = np.divide(equity, peak, out=np.ones_like(equity), where=peak > 0.0) - 1.0
    return Curve(t=[t for t, _ in marks], equity=equity.tolist(), drawdown=drawdown.tolist())


def cagr(start: float, end: float, length_s: int) -> float | None:
    """Compound annual growth rate: (end / start) ** (year / length) - 1.

    None for less than a week, from which a year cannot be told, and for a lost wallet.
    """
    if length_s < SHORTEST_CAGR_S or start <= 0.0 or end <= 0.0:
        return None
    return math.expm1(math.log(end / start) * YEAR_S / length_s)


def sharpe(returns: Floats, period_s: int) -> float | None:
    """Mean over sample standard deviation, times the root of the periods in a year; no risk-free
    rate. None without variation.
    """
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if deviation <= 0.0:
        return None
    return float(returns.mean()) / deviation * math.sqrt(YEAR_S / period_s)


def sortino(returns: Floats, period_s: int) -> float | None:
    """As `sharpe`, over the downside deviation sqrt(mean(min(r, 0) ** 2)); target return 0.

    None without a loss.
    """
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else 0.0
    if downside <= 0.0:
        return None
    return float(returns.mean()) / downside * math.sqrt(YEAR_S / period_s)


def returns_of(curve: Curve) -> tuple[Literal["daily", "hourly", ""], int, Floats]:
    """Simple returns over whole UTC days if there are 30 of them, else over whole UTC hours.

    The name of the period, its length in s, and the returns; nothing with less than 24 hours.
    """
    t, equity = np.array(curve.t), np.array(curve.equity)
    for name, period_s in _PERIODS:
        first, last = -(-int(t[0]) // period_s), int(t[-1]) // period_s
        bounds = np.arange(first, last + 1) * period_s
        needed = DAYS_NEEDED if name == "daily" else MIN_RETURNS
        if len(bounds) <= needed:
            continue
        values = equity[np.searchsorted(t, bounds, side="right") - 1]
        if (values[:-1] <= 0.0).any():
            break
        return name, period_s, np.diff(values) / values[:-1]
    return "", 0, np.empty(0)


def longest_drawdown_s(curve: Curve) -> int:
    """The longest time between a peak and its recovery, or the end, s."""
    longest, peak_t = 0, curve.t[0]
    for t, below in zip(curve.t, curve.drawdown, strict=True):
        if below >= 0.0:
            peak_t = t
        else:
            longest = max(longest, t - peak_t)
    return longest


def profit_factor(profits: Sequence[float]) -> float | None:
    """Sum of gains over sum of losses; None without a loss."""
    lost = -sum(p for p in profits if p < 0.0)
    return sum(p for p in profits if p > 0.0) / lost if lost > 0.0 else None


def win_rate(profits: Sequence[float]) -> float | None:
    """Share of trades with a net profit above 0; None without a trade."""
    return sum(p > 0.0 for p in profits) / len(profits) if profits else None


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of those that are known; None without one."""
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def measure(
    curve: Curve,
    trades: Sequence[TradeRow],
    *,
    signals: int,
    exposed_s: int,
    turnover: float,
    symbols: int,
) -> Metrics:
    """All figures of a run. `turnover`: traded notional, quote; `signals`: entries published.

    Expectancy is the mean net profit of a trade, in quote and in multiples of its risk.
    """
    start, end, length_s = curve.equity[0], curve.equity[-1], curve.t[-1] - curve.t[0]
    name, period_s, returns = returns_of(curve)
    growth = cagr(start, end, length_s)
    deepest = min(curve.drawdown)
    peaks = np.maximum.accumulate(np.array(curve.equity))
    profits = [trade.pnl for trade in trades]
    return Metrics(
        trades=len(trades),
        signals=signals,
        wallet_start=start,
        wallet_end=end,
        pnl=end - start,
        total_return=end / start - 1.0,
        cagr=growth,
        returns_of=name,
        sharpe=sharpe(returns, period_s) if name else None,
        sortino=sortino(returns, period_s) if name else None,
        calmar=growth / -deepest if growth is not None and deepest < 0.0 else None,
        max_drawdown=deepest,
        max_drawdown_abs=float((np.array(curve.equity) - peaks).min()),
        max_drawdown_s=longest_drawdown_s(curve),
        profit_factor=profit_factor(profits),
        expectancy=mean(profits),
        expectancy_r=mean(trade.r_multiple for trade in trades),
        win_rate=win_rate(profits),
        average_win=mean(p for p in profits if p > 0.0),
        average_loss=mean(p for p in profits if p < 0.0),
        best=max(profits, default=None),
        worst=min(profits, default=None),
        median_holding_s=median(t.holding_s for t in trades) if trades else None,
        exposure=exposed_s / length_s if length_s else None,
        turnover=turnover / start,
        fees=sum((trade.fees for trade in trades), 0.0),
        funding=sum((trade.funding for trade in trades), 0.0),
        signals_per_day=signals * 86_400 / (length_s * symbols) if length_s else None,
    )


def groups_of(trades: Sequence[TradeRow]) -> Groups:
    """The trades by score tier, exit reason, direction and symbol."""
    return Groups(
        tier=_split(trades, lambda t: t.tier, TIERS),
        exit_reason=_split(trades, lambda t: t.exit_reason),
        direction=_split(trades, lambda t: "long" if t.direction > 0 else "short"),
        symbol=_split(trades, lambda t: t.symbol),
    )


def _split(
    trades: Sequence[TradeRow], label: Callable[[TradeRow], str], first: Sequence[str] = ()
) -> list[Group]:
    found: dict[str, list[TradeRow]] = {}
    for trade in trades:
        found.setdefault(label(trade), []).append(trade)
    order = [*(name for name in first if name in found), *sorted(set(found) - set(first))]
    return [_group(name, found[name]) for name in order]


def _group(label: str, trades: Sequence[TradeRow]) -> Group:
    profits = [trade.pnl for trade in trades]
    return Group(
        label=label,
        trades=len(trades),
        pnl=sum(profits),
        win_rate=win_rate(profits),
        profit_factor=profit_factor(profits),
        expectancy=mean(profits),
        expectancy_r=mean(trade.r_multiple for trade in trades),
        median_holding_s=median(trade.holding_s for trade in trades),
        mae=mean(trade.mae for trade in trades),
        mfe=mean(trade.mfe for trade in trades),
    )
