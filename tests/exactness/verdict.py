"""What a run has shown: every second of every market against the ledger, and what is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aggr_server import wire
from scripts.stack.audit import (
    Audit,
    Key,
    bars_of,
    compare,
    compare_forced,
    forced_of,
)
from scripts.stack.evidence import Evidence
from tests.exactness.schedule import Schedule

PAGE_S = 60
NEAR_S = 30
"""Gaps are listed with a difference if they are no further away."""

FULL_RECOVERY = frozenset(
    {
        "BINANCE", "BINANCE_FUTURES", "BINANCE_US", "ASTER", "COINBASE", "KRAKEN", "OKEX",
        "DERIBIT", "BITFINEX", "GATEIO", "CRYPTOCOM", "BITGET", "HITBTC",
    }
)  # fmt: skip
"""Venues that tell any trade of the last hours over REST."""


@dataclass
class Verdict:
    """Counts are of market-seconds with trades (`forced`: with forced orders).

    `gap_seconds`: what is recorded as incomplete in the end, by venue and reason. `lasting`: gaps
    of trades at venues that could have told all. `collector`: what is wrong with the process.
    """

    seed: int
    minutes: float
    speed: float
    trades: int = 0
    compared: int = 0
    different: int = 0
    in_gaps: int = 0
    forced_compared: int = 0
    forced_different: int = 0
    gap_seconds: dict[str, int] = field(default_factory=dict)
    lasting: list[dict[str, Any]] = field(default_factory=list)
    gaps_recorded: int = 0
    gaps_closed: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    collector_starts: int = 0
    collector: str = ""
    cpu_s: dict[str, float] = field(default_factory=dict)
    worst_lag_ms: int = 0

    @property
    def problems(self) -> list[str]:
        """Why the run is a failure; empty if it is none."""
        found = []
        if self.different:
            found.append(f"{self.different} seconds differ from the ledger outside any gap")
        if self.forced_different:
            found.append(f"{self.forced_different} seconds of forced orders differ")
        if self.lasting:
            found.append(f"{len(self.lasting)} gaps of trades remain where all could be fetched")
        if self.collector:
            found.append(f"the collector {self.collector}")
        if not self.compared:
            found.append("nothing was compared")
        return found

    @property
    def text(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_dict(), indent=1)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self) | {"problems": self.problems}


def lasting_gaps(gaps: Sequence[wire.Gap], start: int, end: int) -> list[wire.Gap]:
    """Gaps of trades within [start, end) at venues of full recovery."""
    return [
        gap
        for gap in gaps
        if gap.reason != wire.FORCED_ORDERS_ONLY
        and gap.market.partition(":")[0] in FULL_RECOVERY
        and min(gap.to_s, end) > max(gap.from_s, start)
    ]


def judge(evidence: Evidence, start: int, end: int, drawn: Schedule, into: Verdict) -> None:
    """Compare the seconds [start, end) of every market."""
    gaps = evidence.gaps(start)
    trades, forced = Audit(), Audit()
    for page in range(start, end, PAGE_S):
        _judge_page(evidence, page, min(page + PAGE_S, end), gaps, drawn, trades, forced)
    into.trades = trades.trades
    into.compared, into.different, into.in_gaps = trades.compared, trades.mismatched, trades.in_gaps
    into.forced_compared, into.forced_different = forced.compared, forced.mismatched
    into.differences = trades.mismatches + forced.mismatches
    for difference in into.differences:
        market, second = difference["market"], difference["second"]
        difference["around"] = drawn.around(market, second)
        difference["gaps"] = [
            f"{gap.from_s - second:+d} to {gap.to_s - second:+d} {gap.reason}"
            for gap in gaps
            if gap.market == market and gap.from_s - NEAR_S <= second < gap.to_s + NEAR_S
        ]
    into.gaps_recorded = len(gaps)
    into.gaps_closed = sum(gap.to_s <= gap.from_s for gap in gaps)
    into.lasting = [
        {"market": g.market, "from_s": g.from_s, "to_s": g.to_s, "reason": g.reason}
        for g in lasting_gaps(gaps, start, end)
    ]
    seconds: Counter[str] = Counter()
    for gap in gaps:
        lost = min(gap.to_s, end) - max(gap.from_s, start)
        if lost > 0:
            seconds[f"{gap.market.partition(':')[0]} {gap.reason}"] += lost
    into.gap_seconds = dict(sorted(seconds.items()))


def _judge_page(
    evidence: Evidence,
    start: int,
    end: int,
    gaps: list[wire.Gap],
    drawn: Schedule,
    trades: Audit,
    forced: Audit,
) -> None:
    ledger = evidence.simulator(f"ledger?from={start}&to={end}")
    bars, orders = {}, {}
    for market, rows in ledger["markets"].items():
        bars.update(bars_of(market, rows))
        orders.update(forced_of(market, rows))
    incomplete: set[Key] = set()
    without_forced: set[Key] = set()
    for gap in gaps:
        seconds = {(gap.market, s) for s in range(max(start, gap.from_s), min(end, gap.to_s))}
        without_forced |= seconds
        if gap.reason != wire.FORCED_ORDERS_ONLY:
            incomplete |= seconds
    without_forced |= {key for key in orders if drawn.hides_liquidations(*key)}
    stored = evidence.stored(start, end)
    compare(bars, stored, incomplete, trades)
    compare_forced(orders, stored, without_forced, forced)
