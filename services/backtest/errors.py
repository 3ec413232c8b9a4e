"""What stops a backtest before it begins."""

from __future__ import annotations


class BacktestError(Exception):
    """The backtest cannot run; the text is one line that names the cause and the remedy."""
