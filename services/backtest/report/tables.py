"""The tables below the chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from services.backtest.result import BacktestResult, Group, Metrics, Source, TradeRow
from services.strategy.params import Params
from services.web.document import Column, Table

DASH = "\u2013"


def tables(result: BacktestResult) -> list[Table]:
    """All of them, in the order in which they are read."""
    found = [
        _trades(result),
        *(_sweep(result) if result.sweep else []),
        *(_splits(result) if result.walk_forward else []),
        _groups("By score tier", result.groups.tier),
        _groups("By exit reason", result.groups.exit_reason, readable),
        _groups("By direction", result.groups.direction),
    ]
    if len(result.symbols) > 1:
        found.append(_groups("By symbol", result.groups.symbol))
    return [*found, _outcomes(result), _assumptions(result)]


def readable(reason: str) -> str:
    """RANGE_BREAK as `range break`."""
    return reason.lower().replace("_", " ")


def _trades(result: BacktestResult) -> Table:
    columns = [
        Column("#", "int", "number of the trade"),
        Column("Symbol", "text"),
        Column("Side", "text"),
        Column("Score", "points", "0 to 10"),
        Column("Reset", "text", "converged (A) or explosive (B)"),
        Column("Entry", "time", "UTC"),
        Column("Price", "price", "fill of the entry"),
        Column("Exit", "time", "UTC"),
        Column("Price", "price", "fill of the exit"),
        Column("Reason", "text", "what ended it"),
        Column("Held", "duration"),
        Column("Lev.", "times", "leverage"),
        Column("Stake", "amount", "margin"),
        Column("Net", "money", "after fees and funding", tone=True),
        Column("On stake", "pct", "net profit over margin", tone=True),
        Column("R", "z", "net profit over what was risked to the invalidation price", tone=True),
        Column("MAE", "pct", "worst price while open, of the entry price"),
        Column("MFE", "pct", "best price while open, of the entry price"),
        Column("Fees", "amount"),
        Column("Funding", "money", "paid if negative"),
    ]
    resets = {signal.signal_id: signal.reset_type for signal in result.signals}
    return Table(
        title="Trades",
        note=f"{len(result.trades):,}; a row leads to its place in the chart",
        columns=columns,
        rows=[_trade(i, t, resets.get(t.signal_id)) for i, t in enumerate(result.trades, 1)],
        jumps=True,
        empty="No trade was made in this time.",
    )


def _trade(number: int, t: TradeRow, reset: str | None) -> list[Any]:
    reason = "still open at the end" if t.open_at_end else readable(t.exit_reason)
    return [
        number,
        t.symbol,
        "\u25b2 long" if t.direction > 0 else "\u25bc short",
        t.score,
        reset,
        t.entry_ms / 1000,
        t.entry_price,
        t.exit_ms / 1000,
        t.exit_price,
        reason,
        t.holding_s,
        t.leverage,
        t.stake,
        t.pnl,
        t.return_on_stake,
        t.r_multiple,
        t.mae,
        t.mfe,
        t.fees,
        t.funding,
    ]


def _groups(title: str, groups: Sequence[Group], name: Any = str) -> Table:
    columns = [
        Column("", "text"),
        Column("Trades", "int"),
        Column("Net", "money", "after fees and funding", tone=True),
        Column("Win rate", "share"),
        Column("PF", "num", "profit factor: gross profit over gross loss"),
        Column("Expect.", "money", "mean net profit of a trade", tone=True),
        Column("R", "z", "mean R multiple", tone=True),
        Column("Held", "duration", "median"),
        Column("MAE", "pct", "mean"),
        Column("MFE", "pct", "mean"),
    ]
    rows = [
        [
            name(g.label),
            g.trades,
            g.pnl,
            g.win_rate,
            g.profit_factor,
            g.expectancy,
            g.expectancy_r,
            g.median_holding_s,
            g.mae,
            g.mfe,
        ]
        for g in groups
    ]
    return Table(title=title, side="right", columns=columns, rows=rows, empty="No trade.")


def _outcomes(result: BacktestResult) -> Table:
    entries = [signal for signal in result.signals if signal.action != "CLOSE"]
    rows: list[list[Any]] = []
    headings: list[str] = []
    for heading, counted in (
        ("Entry signals", Counter(signal.outcome for signal in entries)),
        ("Refused", Counter(f"{r.by}: {readable(r.reason)}" for r in result.refusals)),
    ):
        for i, (label, count) in enumerate(counted.most_common()):
            rows.append([label, count])
            headings.append("" if i else heading)
    return Table(
        title="Signals",
        side="right",
        columns=[Column("", "text"), Column("Number", "int")],
        rows=rows,
        groups=headings,
        empty="No signal.",
    )


def _assumptions(result: BacktestResult) -> Table:
    c = result.costs
    parts: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "Execution",
            [
                ("Fee", f"{100 * c.fee_rate:g} % of the notional, at entry and at exit"),
                ("Slippage", f"{c.slippage_bp:g} bp against the trade, at entry and at exit"),
                ("Delay", f"{c.fill_delay_s} s from decision to fill"),
                ("Wallet", f"{c.wallet:,.2f}"),
                ("Stake", f"{c.stake:,.2f} at size factor 1"),
                ("Limits", f"{c.max_open_trades} open trades, leverage {c.max_leverage}"),
                ("Maintenance margin", f"{100 * c.maintenance_rate:g} % of the notional"),
            ],
        ),
        ("Parameters that differ from the default", _overrides(result.overrides)),
        *((f"Data of {source.symbol}", _source(source)) for source in result.sources),
    ]
    rows, headings = [], []
    for heading, entries in parts:
        for i, (label, value) in enumerate(entries):
            rows.append([label, value])
            headings.append("" if i else heading)
    return Table(
        title="Assumptions and data",
        side="right",
        columns=[Column("", "text"), Column("", "wrap")],
        rows=rows,
        groups=headings,
        wide=True,
    )


def _overrides(overrides: dict[str, Any]) -> list[tuple[str, str]]:
    defaults = {field.name: field.default for field in fields(Params)}
    if not overrides:
        return [("none", "")]
    return [
        (name, f"{value} (default {defaults.get(name, DASH)})")
        for name, value in sorted(overrides.items())
    ]


def _source(source: Source) -> list[tuple[str, str]]:
    warm = source.warm_from_s
    warm_text = (
        "the warm-up did not end"
        if warm is None
        else f"{max(0, warm - source.data_from_s) / 3600:.1f} h after the first second"
    )
    found = [
        ("Source", {"influxdb": "InfluxDB", "bars": "bars", "trades": "trades"}[source.kind]),
        ("Files", ", ".join(source.files)),
        ("Spot", ", ".join(source.spot) or "none"),
        ("Perp", ", ".join(source.perp) or "none"),
        ("Prices of", source.execution_market),
        ("One-second data", f"{(source.data_to_s - source.data_from_s) / 3600:,.1f} h"),
        ("Before them", f"{source.history_min:,} minutes of history"),
        ("Ready to decide", warm_text),
        ("Gaps", f"{source.gaps_s:,} s, summed over markets" if source.gaps_s else "none"),
        ("Open interest", f"{source.oi_samples:,} samples" if source.oi_samples else "none"),
        ("Funding", f"{source.funding_samples:,} payments" if source.funding_samples else "none"),
    ]
    return [(label, text) for label, text in found if text]


def _figures(m: Metrics) -> list[Any]:
    return [m.trades, m.pnl, m.cagr, m.sharpe, m.max_drawdown, m.profit_factor, m.win_rate]


def _figure_columns(prefix: str = "") -> list[Column]:
    return [
        Column(f"{prefix}Trades", "int"),
        Column(f"{prefix}Net", "money", tone=True),
        Column(f"{prefix}CAGR", "pct"),
        Column(f"{prefix}Sharpe", "num"),
        Column(f"{prefix}Max DD", "share"),
        Column(f"{prefix}PF", "num", "profit factor"),
        Column(f"{prefix}Win rate", "share"),
    ]


def _sweep(result: BacktestResult) -> list[Table]:
    names = sorted({name for row in result.sweep for name in row.values})
    return [
        Table(
            title="Parameter sweep",
            note="the best of many runs looks better than it is: it was chosen for its luck too",
            columns=[*(Column(name, "text") for name in names), *_figure_columns()],
            rows=[
                [*(_value(row.values.get(name)) for name in names), *_figures(row.metrics)]
                for row in result.sweep
            ],
        )
    ]


def _splits(result: BacktestResult) -> list[Table]:
    return [
        Table(
            title="Walk-forward",
            note="chosen on the first part of each split, judged on what follows",
            columns=[
                Column("From", "time"),
                Column("Chosen until", "time"),
                Column("Judged until", "time"),
                Column("Parameters", "text"),
                *_figure_columns("in: "),
                *_figure_columns("out: "),
            ],
            rows=[
                [
                    split.in_from_s,
                    split.in_to_s,
                    split.out_to_s,
                    ", ".join(f"{k}={_value(v)}" for k, v in sorted(split.values.items())),
                    *_figures(split.in_sample),
                    *_figures(split.out_of_sample),
                ]
                for split in result.walk_forward
            ],
        )
    ]


def _value(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
