"""An explanation for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from services.explain.compare import PHASES, TOLERANCES, Row
from services.explain.decision import Explanation
from services.influx_signal_manager import iso
from services.market.backfill import spans_text

WIDTH = 88
_MARKS = {
    "same": "=",
    "differs": "\u2260",
    "not compared": "\u00b7",
    "only recorded": "\u2212",
    "only rebuilt": "+",
}


def text(explanation: Explanation) -> str:
    """The signal, the verdict, each phase's values recorded and rebuilt, and causes."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    signal, comparison = explanation.signal, explanation.comparison
    yield f"{signal.symbol} {signal.action}  {signal.signal_id}"
    yield f"decided {iso((signal.t + 1) * 1000)}, score {signal.score:.2f}, {signal.outcome}"
    yield ""
    yield from textwrap.wrap(comparison.sentence, WIDTH)
    if filled := filled_text(explanation.rebuilt.filled):
        yield from textwrap.wrap(filled, WIDTH)
    for cause in comparison.causes:
        yield from textwrap.wrap(cause, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    for key, title in PHASES:
        rows = [row for row in comparison.rows if row.phase == key]
        if rows:
            yield ""
            yield f"{title:<40}{'recorded':>18}{'rebuilt':>18}"
            yield from (_line(row) for row in rows)
    yield ""
    yield from textwrap.wrap(f"= within the tolerance: {TOLERANCES}.", WIDTH)


def _line(row: Row) -> str:
    mark = _MARKS[row.equality]
    return f"  {spoken(row.name):<38}{value(row.recorded):>18}{value(row.rebuilt):>18}  {mark}"


def filled_text(minutes: Sequence[int]) -> str:
    """Which minutes come from candles; empty if none does."""
    if not minutes:
        return ""
    return (
        f"{len(minutes)} of the minutes that the scales rest on were seen by no collector and "
        f"filled from candles: {spans_text(minutes)} UTC."
    )


def spoken(name: str) -> str:
    """A path as words: `windows.30.z_spot` as `windows 30 z spot`."""
    return name.replace(".", " ").replace("_", " ")


def value(found: Any) -> str:
    """A value as short as it can be told; UTC seconds as a time."""
    if found is None:
        return "\u2013"
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int) and found > 1_000_000_000:
        return iso(found * 1000)[5:19].replace("T", " ")
    if isinstance(found, float):
        return f"{found:.5g}" if abs(found) < 1e4 else f"{found:,.0f}"
    return str(found)
