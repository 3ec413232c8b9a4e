"""What is printed at the end: assumptions, figures, tables, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from services.backtest.assemble import utc
from services.backtest.result import BacktestResult, Costs, Group, Metrics, Split, SweepRow
from services.backtest.sweep import Criterion, luck, score

SHOWN = 20
UNKNOWN = "-"


def text(result: BacktestResult, criterion: Criterion = "pnl") -> str:
    """The whole summary."""
    parts = [_head(result), assumptions(result.costs), _figures(result.metrics)]
    if result.trades:
        groups = [
            *result.groups.tier,
            *result.groups.exit_reason,
            *result.groups.direction,
            *(result.groups.symbol if len(result.symbols) > 1 else ()),
        ]
        parts.append(_table(_GROUP_HEAD, [_group(g) for g in groups]))
    if result.refusals:
        parts.append(f"Entries not executed: {len(result.refusals)} ({_counted(result)})")
    if result.sweep:
        parts.append(sweep_text(result.sweep, criterion))
    if result.walk_forward:
        parts.append(walk_text(result.walk_forward, criterion))
    if result.warnings:
        parts.append("\n".join(f"Warning: {warning}" for warning in result.warnings))
    return "\n\n".join(parts)


def assumptions(costs: Costs) -> str:
    """What the figures rest on, in two lines."""
    return (
        f"Assumed: fee {costs.fee_rate:.4%} of the notional at each end, slippage "
        f"{costs.slippage_bp:g} bp against every fill, fills {costs.fill_delay_s} s after the "
        f"decision,\n         wallet {costs.wallet:g}, margin of a plain trade {costs.stake:g}, "
        f"at most {costs.max_open_trades} trades at once, isolated margin, market impact none."
    )


def sweep_text(rows: Sequence[SweepRow], criterion: Criterion) -> str:
    """The best combinations, and what they are worth."""
    ordered = sorted(rows, key=lambda row: -score(row.metrics, criterion))
    lines = [[_values(row.values), *_short(row.metrics)] for row in ordered[:SHOWN]]
    table = _table(("parameters", *_SHORT_HEAD), lines)
    more = f"\n({len(rows) - SHOWN} more in the JSON file)" if len(rows) > SHOWN else ""
    known = [v for row in rows if (v := score(row.metrics, criterion)) != float("-inf")]
    warning = (
        f"Overfitting: {len(rows)} combinations were tried on the same data, so the best one looks "
        "better than it is."
    )
    if (chance := luck(known)) is not None and chance > 0.0:
        lead = max(known) - sum(known) / len(known)
        warning += (
            f" If all were equally good, the best would by luck alone lie {chance:.4g} above the "
            f"mean {criterion}; it lies {lead:.4g} above. Judge by --walk-forward."
        )
    return f"Sweep, best by {criterion} first\n{table}{more}\n{warning}"


def walk_text(splits: Sequence[Split], criterion: Criterion) -> str:
    """In-sample against out-of-sample."""
    head = ("in-sample from", "to", "out-of-sample to", "parameters", "in", "out", "trades out")
    lines = [
        [
            utc(s.in_from_s),
            utc(s.in_to_s),
            utc(s.out_to_s),
            _values(s.values) or "as given",
            _number(getattr(s.in_sample, criterion)),
            _number(getattr(s.out_of_sample, criterion)),
            str(s.out_of_sample.trades),
        ]
        for s in splits
    ]
    return f"Walk-forward by {criterion}\n{_table(head, lines)}\n{_degradation(splits)}"


def _degradation(splits: Sequence[Split]) -> str:
    days_in = sum(s.in_to_s - s.in_from_s for s in splits) / 86_400
    days_out = sum(s.out_to_s - s.in_to_s for s in splits) / 86_400
    inside = sum(s.in_sample.pnl for s in splits) / days_in
    outside = sum(s.out_of_sample.pnl for s in splits) / days_out
    kept = f", {outside / inside:.0%} of it" if inside > 0.0 < outside else ""
    return (
        f"Result per day: {inside:.4g} where the parameters were chosen, {outside:.4g} on the data "
        f"after it{kept}. Only the second figure is an estimate; the difference is overfitting."
    )


def _head(result: BacktestResult) -> str:
    lines = [
        f"Backtest {', '.join(result.symbols)}, {utc(result.from_s)} to {utc(result.to_s)} UTC"
    ]
    for s in result.sources:
        markets = f"{len(s.spot)} spot, {len(s.perp)} perpetual"
        oi = "with open interest" if s.oi_samples else "no open interest"
        lines.append(f"{s.symbol}: {markets} markets, executed on {s.execution_market}, {oi}")
    if result.overrides:
        lines.append(f"Parameters changed: {_values(result.overrides)}")
    return "\n".join(lines)


def _figures(m: Metrics) -> str:
    annual = f" (annualised from {m.returns_of} returns)" if m.returns_of else ""
    rows = [
        ("Trades", f"{m.trades} of {m.signals} signals", "Win rate", _percent(m.win_rate)),
        ("Net profit", _number(m.pnl), "Return", _percent(m.total_return)),
        ("CAGR", _percent(m.cagr), "Profit factor", _number(m.profit_factor)),
        ("Sharpe" + annual, _number(m.sharpe), "Sortino", _number(m.sortino)),
        ("Max drawdown", _percent(m.max_drawdown), "lasting", _duration(m.max_drawdown_s)),
        ("Expectancy", _number(m.expectancy), "in R", _number(m.expectancy_r)),
        ("Average win", _number(m.average_win), "Average loss", _number(m.average_loss)),
        ("Exposure", _percent(m.exposure), "Median holding", _duration(m.median_holding_s)),
        ("Fees", _number(m.fees), "Funding", _number(m.funding)),
        ("Turnover", f"{m.turnover:.2f} x wallet", "Signals per day", _number(m.signals_per_day)),
    ]
    return _table((), rows)


_GROUP_HEAD = (
    "", "trades", "pnl", "win rate", "profit factor", "expectancy", "R", "holding", "MAE", "MFE",
)  # fmt: skip
_SHORT_HEAD = ("trades", "pnl", "sharpe", "max drawdown", "profit factor", "R")


def _group(g: Group) -> list[str]:
    return [
        g.label,
        str(g.trades),
        _number(g.pnl),
        _percent(g.win_rate),
        _number(g.profit_factor),
        _number(g.expectancy),
        _number(g.expectancy_r),
        _duration(g.median_holding_s),
        _percent(g.mae),
        _percent(g.mfe),
    ]


def _short(m: Metrics) -> list[str]:
    return [
        str(m.trades),
        _number(m.pnl),
        _number(m.sharpe),
        _percent(m.max_drawdown),
        _number(m.profit_factor),
        _number(m.expectancy_r),
    ]


def _counted(result: BacktestResult) -> str:
    counts: dict[str, int] = {}
    for refusal in result.refusals:
        counts[refusal.reason] = counts.get(refusal.reason, 0) + 1
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2%}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {minutes:02d} min"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    left = {0, 2} if not head else {0}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
