"""What became of the signals: win rate, profit and holding time, by score tier and exit reason.

Pure functions of rows of the measurement `strategy_signals`, as dicts of fields and tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

Row = Mapping[str, Any]

TIERS = ("high", "medium", "low", "very_low")
FIELDS = (
    "outcome",
    "score",
    "pnl",
    "pnl_percentage",
    "holding_time_minutes",
    "exit_reason",
    "fill_time",
)
TAGS = ("symbol", "score_tier")


def spread(values: Iterable[float]) -> dict[str, float]:
    """Count, median, 90th and 99th percentile and maximum; nothing for no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    n = len(ordered)
    found: dict[str, float] = {"count": n, "median": round(median(ordered), 3)}
    for percent in (90, 99):
        found[f"p{percent}"] = round(ordered[min(n - 1, n * percent // 100)], 3)
    return {**found, "max": round(ordered[-1], 3)}


def analyse(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of entries: of all together, and by score tier, symbol and exit reason.

    Tiers that had no signal are there with a count of 0, so that a report has the same rows always.
    """
    return {
        **figures(rows),
        "by_score_tier": {
            tier: figures([row for row in rows if row.get("score_tier") == tier]) for tier in TIERS
        },
        "by_symbol": _by(rows, lambda row: row.get("symbol")),
        "by_exit_reason": _by(_closed(rows), lambda row: row.get("exit_reason")),
    }


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of one group of entries.

    `total`: signals; `trades`: those that were filled and closed, on which the rest is based.
    `pnl_*`: quote currency, net of fees and funding; `pnl_percentage_*`: on the stake.
    `profit_factor`: gross profit over gross loss, None without a loss. All are None without trades.
    """
    closed = _closed(rows)
    pnl = [float(row["pnl"]) for row in closed]
    percentages = _known(closed, "pnl_percentage")
    held = _known(closed, "holding_time_minutes")
    loss = -sum(value for value in pnl if value < 0)
    scores = _known(rows, "score")
    return {
        "total": len(rows),
        "outcomes": dict(Counter(str(row["outcome"]) for row in rows if row.get("outcome"))),
        "trades": len(closed),
        "wins": sum(value > 0 for value in pnl),
        "win_rate": sum(value > 0 for value in pnl) / len(pnl) if pnl else None,
        "pnl_sum": sum(pnl),
        "pnl_average": _mean(pnl),
        "pnl_percentage_average": _mean(percentages),
        "pnl_percentage_median": median(percentages) if percentages else None,
        "profit_factor": sum(value for value in pnl if value > 0) / loss if loss else None,
        "holding_minutes_average": _mean(held),
        "holding_minutes_median": median(held) if held else None,
        "score_average": _mean(scores),
        "exit_reasons": dict(
            Counter(str(row["exit_reason"]) for row in closed if row.get("exit_reason"))
        ),
    }


def _by(rows: Sequence[Row], key: Callable[[Row], str | None]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if name := key(row):
            groups.setdefault(name, []).append(row)
    return {name: figures(groups[name]) for name in sorted(groups)}


def _closed(rows: Sequence[Row]) -> list[Row]:
    # An expired or cancelled signal has no result; one whose trade is open has none yet.
    outcomes = ("profitable", "unprofitable")
    return [r for r in rows if r.get("outcome") in outcomes and r.get("pnl") is not None]


def _known(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
