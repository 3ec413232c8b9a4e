"""An explanation as a page: the window that led to the decision, with what the strategy saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from services.explain.compare import PHASES, TOLERANCES
from services.explain.decision import Explanation
from services.explain.text import filled_text, spoken, value
from services.influx_signal_manager import iso
from services.strategy.types import Second, Transition
from services.web.document import (
    Candles,
    Column,
    Document,
    Figure,
    Level,
    Line,
    Market,
    Moment,
    Panel,
    Span,
    Table,
    Tone,
    Trade,
    Values,
)

WINDOW_S = 14_400
STEP_S = 15
_TONES: dict[str, Tone] = {"same": "good", "close": "", "different": "bad", "unknown": ""}
_EQUALITY = {"same": "yes", "differs": "no"}


def document(explanation: Explanation) -> Document:
    """What the page shows."""
    signal, comparison = explanation.signal, explanation.comparison
    return Document(
        title=f"{signal.symbol} {signal.action}",
        subtitle=f"{iso((signal.t + 1) * 1000)}, signal {signal.signal_id}",
        said=[
            f"Set-up {signal.setup_id or 'unknown'}, outcome {signal.outcome or 'unknown'}.",
            *filter(None, [filled_text(explanation.rebuilt.filled)]),
        ],
        verdict=comparison.sentence,
        verdict_tone=_TONES[comparison.verdict],
        warnings=comparison.causes,
        figures=_figures(explanation),
        markets=[_market(explanation)],
        jumps=[],
        tables=[_table(explanation)],
        credit=f"Within the tolerance: {TOLERANCES}.",
    )


def _record(explanation: Explanation) -> dict[str, Any]:
    return explanation.signal.decision or explanation.rebuilt.record


def _figures(explanation: Explanation) -> list[Figure]:
    signal, record = explanation.signal, _record(explanation)
    context = record.get("context") or {}
    found = [
        Figure("Score", signal.score, "points", note="0 to 10"),
        Figure("Price", record.get("price"), "price"),
        Figure("Context", str(context.get("environment", "")).lower().replace("_", " "), "text"),
        Figure("K", context.get("k"), "z"),
        Figure("Coverage", record.get("coverage"), "share"),
    ]
    if score := record.get("score"):
        found += [
            Figure("Spot, 3 min", score.get("z_spot"), "z", note="z-score"),
            Figure("Perp, 3 min", score.get("z_perp"), "z", note="z-score"),
            Figure("Price, 3 min", score.get("z_price"), "z", note="z-score"),
            Figure("Lift", score.get("lift"), "num", note="5-minute ranges above the reset"),
        ]
    if flows := (record.get("exit") or {}).get("flows"):
        found += [
            Figure("Spot since entry", flows.get("spot"), "z", note="z-score, for the position"),
            Figure("Perp since entry", flows.get("perp"), "z", note="z-score, for the position"),
            Figure("Reason", str(signal.exit_reason).lower().replace("_", " "), "text"),
        ]
    if reset := record.get("reset"):
        found.append(Figure("Gap closed", reset.get("closed"), "share", note="of its peak"))
    return found


def _market(explanation: Explanation) -> Market:
    signal, rebuilt = explanation.signal, explanation.rebuilt
    begin = signal.t + 1 - WINDOW_S
    held = (_record(explanation).get("exit") or {}).get("entry_t")
    if isinstance(held, int):
        begin = min(begin, held - 3600)
    seconds = [s for s in rebuilt.seconds if s.t >= begin]
    cut = _cut(seconds)
    start = seconds[0].t // STEP_S * STEP_S if seconds else signal.t // STEP_S * STEP_S
    panels = [
        Panel(title=signal.symbol, weight=5.0, candles=_candles(cut)),
        Panel(title="", weight=0.45, strip=True),
        Panel(title="CVD", weight=3.2, shaded=True, lines=_flows(cut)),
    ]
    if any(second.oi for second in seconds):
        interest: Values = [sum(p[-1].oi.values()) if p and p[-1].oi else None for p in cut]
        line = Line(name="coins", values=interest, color="oi", kind="coins", steps=True)
        panels.append(Panel(title="Open interest", weight=1.3, lines=[line]))
    end = seconds[-1].t + 1 if seconds else start + STEP_S
    return Market(
        name=signal.symbol,
        start=start,
        step=STEP_S,
        count=max(1, len(cut)),
        panels=panels,
        spans=list(_spans(rebuilt.moves, start, max(signal.t + 1, start + 1))),
        trades=[_trade(explanation)],
        levels=list(_levels(explanation, start, end)),
        moments=[m for m in _moments(explanation) if start <= m.t <= end],
    )


def _cut(seconds: Sequence[Second]) -> list[list[Second]]:
    if not seconds:
        return []
    start = seconds[0].t // STEP_S
    parts: list[list[Second]] = [[] for _ in range(seconds[-1].t // STEP_S - start + 1)]
    for second in seconds:
        parts[second.t // STEP_S - start].append(second)
    return parts


def _candles(cut: Sequence[Sequence[Second]]) -> Candles:
    return Candles(
        [p[0].open if p else None for p in cut],
        [max(s.high for s in p) if p else None for p in cut],
        [min(s.low for s in p) if p else None for p in cut],
        [p[-1].close if p else None for p in cut],
    )


def _flows(cut: Sequence[Sequence[Second]]) -> list[Line]:
    spot: Values = []
    perp: Values = []
    spot_sum = perp_sum = 0.0
    for part in cut:
        spot_sum += sum(s.spot_delta for s in part)
        perp_sum += sum(s.perp_delta for s in part)
        spot.append(float(f"{spot_sum:.8g}"))
        perp.append(float(f"{perp_sum:.8g}"))
    return [
        Line(name="spot", values=spot, color="spot", kind="usd", axis="left"),
        Line(name="perp", values=perp, color="perp", kind="usd", axis="right"),
    ]


def _spans(moves: Sequence[Transition], from_s: int, to_s: int) -> Iterator[Span]:
    state, direction, since = "WARMUP", 0, from_s
    for move in moves:
        if move.t > since:
            yield Span(since, min(move.t, to_s), state, direction)
        state, direction, since = move.state.value, move.direction, max(from_s, move.t)
    if to_s > since:
        yield Span(since, to_s, state, direction)


def _trade(explanation: Explanation) -> Trade:
    signal, record = explanation.signal, _record(explanation)
    price = float(record.get("price") or signal.entry_price)
    if signal.action != "CLOSE":
        side = 1 if signal.action == "LONG" else -1
        text = f"{signal.action.lower()} {signal.score:.2f}"
        return Trade(from_s=signal.t + 1, entry=price, side=side, text=text)
    held = record.get("exit") or {}
    side = int(held.get("direction") or 1)
    entry = float(held.get("entry_price") or price)
    return Trade(
        from_s=float(held.get("entry_t") or signal.t),
        entry=entry,
        side=side,
        to_s=signal.t + 1,
        exit=price,
        won=side * (price - entry) > 0,
        text=str(signal.exit_reason or "").lower().replace("_", " "),
    )


def _levels(explanation: Explanation, start: int, end: int) -> Iterator[Level]:
    record = _record(explanation)
    reset, held = record.get("reset"), record.get("exit")
    if reset:
        since = max(start, int(reset.get("peak_t") or start))
        yield Level(since, end, float(reset["extreme_price"]), "reset extreme")
        buffer = float(explanation.rebuilt.params.rb_buf) * float(reset["r5"])
        level = math.exp(reset["direction"] * (float(reset["extreme"]) - buffer))
        yield Level(explanation.signal.t, end, level, "invalidation", strong=True)
    if held:
        since = max(start, int(held.get("entry_t") or start))
        yield Level(since, end, float(held["level_price"]), "invalidation", strong=True)


def _moments(explanation: Explanation) -> Iterator[Moment]:
    record, signal = _record(explanation), explanation.signal
    if reset := record.get("reset"):
        named = (
            ("anchor_t", "anchor"),
            ("detected_t", "divergence"),
            ("peak_t", "peak of the gap"),
        )
        for key, name in named:
            if reset.get(key):
                yield Moment(int(reset[key]), name)
        tests = reset.get("tests")
        words = f"reset {reset.get('reset_type', '')}" + (
            f", {tests} test{'s' * (tests > 1)}" if tests else ""
        )
        if reset.get("reset_t"):
            yield Moment(int(reset["reset_t"]), words)
    yield Moment(signal.t + 1, "exit" if signal.action == "CLOSE" else "entry")


def _table(explanation: Explanation) -> Table:
    rows: list[list[Any]] = []
    headings: list[str] = []
    for key, title in PHASES:
        for i, row in enumerate(r for r in explanation.comparison.rows if r.phase == key):
            verdict = _EQUALITY.get(row.equality, row.equality)
            rows.append([spoken(row.name), value(row.recorded), value(row.rebuilt), verdict])
            headings.append("" if i else title)
    return Table(
        title="What the strategy saw",
        note="as recorded when it decided, and as it comes out of the stored bars",
        columns=[
            Column("", "text"),
            Column("Recorded", "text"),
            Column("Rebuilt", "text"),
            Column("Within tolerance", "text"),
        ],
        rows=rows,
        groups=headings,
        empty="The values of this decision were not recorded.",
        wide=True,
    )
