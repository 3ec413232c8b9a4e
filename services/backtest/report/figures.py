"""What stands above the chart: what was run, and how it went in standard terms."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from services.backtest.result import BacktestResult, Metrics
from services.web.document import Figure, Tone

DAY_S = 86_400


def subtitle(result: BacktestResult) -> str:
    """Markets and time."""
    return (
        f"{', '.join(result.symbols)}, {_moment(result.from_s)} \u2013 {_moment(result.to_s)} UTC"
    )


def said(result: BacktestResult) -> list[str]:
    """One line for the reader who looks at nothing else."""
    metrics = result.metrics
    days = (result.to_s - result.from_s) / DAY_S
    length = f"{days:.1f} days" if days >= 2 else f"{days * 24:.1f} hours"
    decided = f"one decision per second over {length}"
    if not metrics.trades:
        return [f"No trade: {decided}, {metrics.signals} signals."]
    return [
        f"{_count(metrics.trades, 'trade')} from {_count(metrics.signals, 'signal')}, {decided}."
    ]


def credit(result: BacktestResult) -> str:
    """What the figures mean, below the page."""
    start = f"{result.costs.wallet:,.0f}"
    return (
        f"Equity is marked to market each minute and starts at {start}. Past results, simulated "
        "ones all the more, do not tell what will be earned."
    )


def figures(result: BacktestResult) -> list[Figure]:
    """The key figures, most important first."""
    m = result.metrics
    returns = f"{m.returns_of} returns" if m.returns_of else ""
    found = [
        Figure("Net profit", m.pnl, "money", _tone(m.pnl), f"{100 * m.total_return:+.2f} %"),
        Figure("CAGR", m.cagr, "pct", _tone(m.cagr), "" if m.cagr is not None else "too short"),
        Figure("Sharpe", m.sharpe, "num", note=returns),
        Figure("Sortino", m.sortino, "num", note=returns),
        Figure("Max drawdown", m.max_drawdown, "share", note=_drawdown(m)),
        Figure("Profit factor", m.profit_factor, "num", note=_averages(m)),
        Figure("Win rate", m.win_rate, "share", note=_extremes(m)),
        Figure("Expectancy", m.expectancy, "money", _tone(m.expectancy), _r(m)),
        Figure("Exposure", m.exposure, "share", note=f"turnover {m.turnover:.1f}\u00d7"),
        Figure("Trades", m.trades, "int", note=_count(m.signals, "signal")),
        Figure("Fees", m.fees, "amount", note=f"funding {m.funding:+.2f}"),
    ]
    return [msgspec.structs.replace(f, note=f.note.replace("-", "\u2212")) for f in found]


def _drawdown(m: Metrics) -> str:
    return f"{m.max_drawdown_abs:,.2f}, {m.max_drawdown_s / 3600:.1f} h" if m.max_drawdown else ""


def _averages(m: Metrics) -> str:
    if m.average_win is None or m.average_loss is None:
        return ""
    return f"\u2300 {m.average_win:+.2f} / {m.average_loss:+.2f}"


def _extremes(m: Metrics) -> str:
    return "" if m.best is None or m.worst is None else f"{m.worst:+.2f} to {m.best:+.2f}"


def _r(m: Metrics) -> str:
    return "" if m.expectancy_r is None else f"{m.expectancy_r:+.2f} R a trade"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _tone(value: float | None) -> Tone:
    return "" if not value else "good" if value > 0 else "bad"


def _moment(t: int) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")
