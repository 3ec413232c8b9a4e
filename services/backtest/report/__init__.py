"""The result of a backtest as one page to look at."""

from __future__ import annotations

from pathlib import Path

from services.backtest.report.charts import jumps, markets
from services.backtest.report.figures import credit, figures, said, subtitle
from services.backtest.report.tables import tables
from services.backtest.result import BacktestResult
from services.web.document import Document
from services.web.page import page


def render(result: BacktestResult, path: Path) -> None:
    """Write the report of `result` to `path`, replacing what is there. Raises `OSError`."""
    path.write_text(page(document(result)), encoding="utf-8")


def document(result: BacktestResult) -> Document:
    """What the report shows."""
    return Document(
        title="Backtest",
        subtitle=subtitle(result),
        said=said(result),
        figures=figures(result),
        warnings=[*result.warnings, *result.alerts],
        markets=markets(result),
        jumps=jumps(result),
        tables=tables(result),
        credit=credit(result),
    )
