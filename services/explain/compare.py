"""Recorded beside rebuilt, value by value, and what may explain a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.explain.replay import Rebuilt
from services.explain.store import Stored
from services.influx_signal_manager import iso

ABSOLUTE = 0.05
RELATIVE = 0.01
SECONDS = 2
TOLERANCES = (
    f"z-scores, gaps and points \u00b1{ABSOLUTE}, prices, scales and flows \u00b1{RELATIVE:.0%}, "
    f"times and counters \u00b1{SECONDS} s, everything else exactly; levels of the CVD have no "
    "meaning of their own and are not compared"
)
PHASES = (
    ("context", "1 Context"),
    ("divergence", "2 Divergence"),
    ("reset", "3 Reset"),
    ("score", "4 Score and trigger"),
    ("exit", "5 Exit"),
    ("", "Market"),
)
Equality = Literal["same", "differs", "not compared", "only recorded", "only rebuilt"]
Verdict = Literal["same", "close", "different", "unknown"]

_LEVELS = frozenset({"c_spot", "c_perp"})
_NOT_SHOWN = frozenset({"t", "params", "blocked", "cooldown_until", "loaded"})
_PROPORTIONAL = frozenset(
    {"price", "spot", "perp", "r5", "f_spot", "f_perp", "f_gap", "f_x30", "f_x5", "extreme_price",
     "level_price", "entry_price", "best_spot", "span", "span_max"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One value. `name`: its path within the phase."""

    phase: str
    name: str
    recorded: Any
    rebuilt: Any
    equality: Equality


@dataclass(frozen=True, slots=True)
class Comparison:
    """All values, the verdict as a sentence, and causes that may stand behind differences."""

    verdict: Verdict
    sentence: str
    rows: list[Row]
    causes: list[str]


def compare(signal: Stored, rebuilt: Rebuilt) -> Comparison:
    """Judge what came out."""
    rows = list(_rows(signal.decision, rebuilt.record)) if signal.decision else []
    differing = [row for row in rows if row.equality not in ("same", "not compared")]
    verdict, sentence = _judge(signal, rebuilt, len(differing), len(rows))
    causes = list(_causes(signal, rebuilt)) if verdict != "same" else []
    return Comparison(verdict, sentence, rows, causes)


def _judge(signal: Stored, rebuilt: Rebuilt, differing: int, count: int) -> tuple[Verdict, str]:
    what = f"exit {signal.exit_reason}" if signal.action == "CLOSE" else f"entry {signal.action}"
    when = iso(signal.t * 1000)[11:19]
    if rebuilt.t is None:
        state = rebuilt.record.get("state", "unknown")
        return "different", (
            f"The {what} of {when} UTC does not come out again: the symbol is in {state} then."
        )
    if signal.action == "CLOSE" and signal.exit_reason and rebuilt.kind != signal.exit_reason:
        return "different", f"The {what} of {when} UTC comes out with reason {rebuilt.kind}."
    moved = rebuilt.t - signal.t
    if moved:
        side = "later" if moved > 0 else "earlier"
        return "close", f"The {what} of {when} UTC comes out again, {abs(moved)} s {side}."
    if not count:
        return "unknown", f"The {what} of {when} UTC comes out again; its values were not recorded."
    if differing:
        return "close", (
            f"The {what} comes out again in the same second, {when} UTC; {differing} of {count} "
            "values differ by more than the tolerance."
        )
    return "same", (
        f"The {what} comes out the same: same second, {when} UTC, and all {count} values within "
        "the tolerance."
    )


def _rows(recorded: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> Iterator[Row]:
    for key, _ in PHASES:
        one = recorded.get(key) if key else _market(recorded)
        other = rebuilt.get(key) if key else _market(rebuilt)
        left, right = dict(_flat(one)), dict(_flat(other))
        for name in {**left, **right}:
            yield _row(key, name, left, right)


def _row(phase: str, name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Row:
    one, other = left.get(name), right.get(name)
    leaf = name.rpartition(".")[2]
    equality: Equality
    if leaf in _LEVELS or (leaf in ("signal_id", "trade_id")):
        equality = "not compared"
    elif name not in left:
        equality = "only rebuilt"
    elif name not in right:
        equality = "only recorded"
    else:
        equality = "same" if _alike(leaf, one, other) else "differs"
    return Row(phase, name, one, other, equality)


def _alike(leaf: str, one: Any, other: Any) -> bool:
    if isinstance(one, bool) or not isinstance(one, int | float):
        return bool(one == other)
    if not isinstance(other, int | float):
        return False
    gap = abs(one - other)
    if isinstance(one, int) and isinstance(other, int):
        return gap <= SECONDS if leaf.endswith(("_t", "_s")) or leaf.isupper() else gap == 0
    if leaf in _PROPORTIONAL:
        return gap <= RELATIVE * max(abs(one), abs(other))
    return gap <= max(ABSOLUTE, 1e-9 * abs(one))


def _market(record: Mapping[str, Any]) -> dict[str, Any]:
    phases = {key for key, _ in PHASES}
    return {k: v for k, v in record.items() if k not in phases and k not in _NOT_SHOWN}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value


def _causes(signal: Stored, rebuilt: Rebuilt) -> Iterator[str]:
    if rebuilt.first_s > rebuilt.wanted_first_s:
        yield (
            f"One-second bars before {iso(rebuilt.first_s * 1000)} are no longer stored "
            "(INFLUX_RETENTION_1S), so the state before the decision is not whole."
        )
    then, now = signal.decision.get("minutes"), rebuilt.record.get("minutes")
    if isinstance(then, int) and isinstance(now, int) and abs(then - now) > 1:
        yield f"The scales rested on {then} minutes of history then, on {now} now."
    if signal.action != "CLOSE":
        then, now = signal.decision.get("backfilled_minutes", 0), len(rebuilt.filled)
        if signal.decision and then != now:
            yield f"{then} minutes were filled from candles then, {now} are now."
    for gap in rebuilt.gaps[:5]:
        yield (
            f"{gap.market} had a gap from {iso(gap.from_s * 1000)} to {iso(gap.to_s * 1000)} "
            f"({gap.reason}): bars fetched later were not known when it was decided."
        )
    if len(rebuilt.gaps) > 5:
        yield f"{len(rebuilt.gaps) - 5} more gaps lie in the window."
    if not signal.decision:
        yield "The values of the decision were not recorded."
    elif "params" not in signal.decision:
        yield "The parameters of then were not recorded; those of today's settings were used."
    if rebuilt.adopted:
        yield "The way into the position did not come out again; the position was taken as given."
    yield (
        "Bars that came late count in the second in which they came, but are stored in their own; "
        "and markets that the collector did not list yet then take part now."
    )
