"""What a running demo owes for every bar, signal and trade, whatever has been done to it."""

from __future__ import annotations

from collections import Counter

import redis

from aggr_server import wire
from scripts.stack.evidence import Evidence, Story
from tests.exactness.verdict import lasting_gaps


def stored_bars(evidence: Evidence, end_s: int) -> set[tuple[str, int]]:
    """Market and time, ms, UTC, of every one-second bar that is stored of before `end_s`."""
    base = wire.TIMEFRAMES[0]
    rows = evidence.influx(
        f'SELECT close FROM "{base.retention_policy}"."{base.measurement}" '
        f"WHERE time < {end_s}s GROUP BY market"
    )
    return {(row["market"], row["time"]) for row in rows}


def gaps_without_reason(evidence: Evidence, start: int, end: int) -> list[wire.Gap]:
    """Recorded gaps that could have been fetched: the venue tells all, and it was there."""
    told: set[int] = set()
    for page in range(start, end, 3000):
        told.update(
            evidence.simulator(f"ledger?from={page}&to={min(page + 3000, end)}")["uncertain"]
        )
    return [
        gap
        for gap in lasting_gaps(evidence.gaps(start), start, end)
        if not told.issuperset(range(max(gap.from_s, start), min(gap.to_s, end)))
    ]


def seconds_in_gaps(evidence: Evidence, start: int, end: int) -> Counter[str]:
    """Market-seconds that are recorded as incomplete, by venue and reason."""
    found: Counter[str] = Counter()
    for gap in evidence.gaps(start):
        seconds = min(gap.to_s, end) - max(gap.from_s, start)
        if seconds > 0:
            found[f"{gap.market.partition(':')[0]} {gap.reason}"] += seconds
    return found


def minutes_that_differ(evidence: Evidence, start: int, end: int) -> list[tuple[str, int]]:
    """Minutes whose stored bar has not as many trades as its seconds together."""
    counted = []
    for timeframe in wire.TIMEFRAMES[:2]:
        rows = evidence.influx(
            "SELECT sum(cbuy) + sum(csell) AS trades FROM "
            f'"{timeframe.retention_policy}"."{timeframe.measurement}" '
            f"WHERE time >= {start}s AND time < {end}s GROUP BY time(1m), market"
        )
        counted.append(
            {(row["market"], row["time"] // 1000): row["trades"] for row in rows if row["trades"]}
        )
    seconds, minutes = counted
    return sorted(key for key in seconds.keys() | minutes if seconds.get(key) != minutes.get(key))


def lost_and_doubled(story: Story) -> list[str]:
    """What is wrong with the signals and trades so far. One that got no slot is recorded only."""
    told = {signal_id for signal_id, outcome in story.outcomes.items() if outcome != "cancelled"}
    return [
        *story.repeated,
        *(f"signal {s} is not recorded" for s in story.signals.keys() - story.outcomes.keys()),
        *(f"signal {s} is recorded, not published" for s in told - story.signals.keys()),
        *(f"nobody signalled trade {s}" for s in story.opened.keys() - story.outcomes.keys()),
    ]


def problems(evidence: Evidence) -> list[str]:
    """The same, and that a service does not answer."""
    try:
        return lost_and_doubled(evidence.story())
    except (OSError, redis.RedisError) as error:
        return [str(error)]
