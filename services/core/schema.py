"""What InfluxDB holds: retention policies, and the queries that build longer bars from shorter.

Bars of every length are rebuilt from the next shorter ones over a window that reaches back behind
what the collector may still amend or recover, so a late trade ends up in every timeframe. Writing
a bar again replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aggr_server.env import SettingsError
from aggr_server.wire import TIMEFRAMES, Timeframe
from services.core.settings import InfluxSchemaSettings

DEFAULT_POLICY = "30_days"
MIN_RETENTION_1S_S = 6 * 3600
LATE = "_late"

_DAY_S = 86_400
_UNITS = {"h": 3600, "d": _DAY_S, "w": 7 * _DAY_S}
_COLUMNS = (
    "first(open) AS open, max(high) AS high, min(low) AS low, last(close) AS close, "
    "sum(vbuy) AS vbuy, sum(vsell) AS vsell, sum(cbuy) AS cbuy, sum(csell) AS csell, "
    "sum(lbuy) AS lbuy, sum(lsell) AS lsell"
)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long points are kept, and how much time one file group on disk covers, in seconds."""

    name: str
    duration_s: int
    shard_s: int
    default: bool = False


@dataclass(frozen=True, slots=True)
class Rollup:
    """A continuous query: `target` bars from `source` bars.

    It runs every `every` over the last `over`. The fresh one keeps up with the market, the late
    one (1m only, where the source is large) looks back further but seldom.
    """

    name: str
    source: Timeframe
    target: Timeframe
    every: str
    over: str


def _rollups() -> tuple[Rollup, ...]:
    by_label = {timeframe.label: timeframe for timeframe in TIMEFRAMES}
    return tuple(
        Rollup(name, by_label[source], by_label[target], every, over)
        for name, source, target, every, over in (
            ("cq_1m", "1s", "1m", "10s", "5m"),
            (f"cq_1m{LATE}", "1s", "1m", "5m", "2h"),
            # Each window holds the one before it, so what enters late below still arrives above.
            ("cq_5m", "1m", "5m", "30s", "3h"),
            ("cq_15m", "5m", "15m", "1m", "4h"),
            ("cq_30m", "15m", "30m", "1m", "5h"),
            ("cq_1h", "30m", "1h", "2m", "8h"),
            ("cq_4h", "1h", "4h", "5m", "16h"),
        )
    )


ROLLUPS = _rollups()


def duration_s(text: str) -> int:
    """Seconds in `24h`, `7d` or `4w`. Raises `ValueError` for anything else."""
    match = re.fullmatch(r"([1-9][0-9]*)([hdw])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 24h, 7d or 4w")
    return int(match[1]) * _UNITS[match[2]]


def retention_policies(settings: InfluxSchemaSettings) -> tuple[RetentionPolicy, ...]:
    """Every policy of the database. Raises `SettingsError` if 1 s bars are kept too short."""
    keep_1s = duration_s(settings.influx_retention_1s)
    if keep_1s < MIN_RETENTION_1S_S:
        raise SettingsError(
            f"INFLUX_RETENTION_1S={settings.influx_retention_1s!r}: the strategy's window and the "
            "longer bars need 6h or more. Correct it in .env."
        )
    policies = [RetentionPolicy(DEFAULT_POLICY, 30 * _DAY_S, _DAY_S, default=True)]
    for timeframe in TIMEFRAMES:
        if timeframe.seconds == 1:
            shard = 3600 if keep_1s <= 2 * _DAY_S else _DAY_S
            policies.append(RetentionPolicy(timeframe.retention_policy, keep_1s, shard))
        else:
            # Few large shards for long bars: each shard costs memory whatever it holds.
            shard = _DAY_S if timeframe.seconds < 3600 else 7 * _DAY_S
            policies.append(RetentionPolicy(timeframe.retention_policy, 30 * _DAY_S, shard))
    return tuple(policies)


def continuous_query(rollup: Rollup, database: str) -> str:
    """The statement that creates the query, written as InfluxDB writes it back."""
    return (
        f'CREATE CONTINUOUS QUERY {rollup.name} ON "{database}" '
        f"RESAMPLE EVERY {rollup.every} FOR {rollup.over} "
        f"BEGIN {_select(rollup, database)} GROUP BY time({rollup.target.label}), market END"
    )


def rebuild_statements(database: str, from_s: int, to_s: int) -> tuple[str, ...]:
    """Statements, in order, that bring every timeframe up to date for [from_s, to_s).

    Both ends are widened to whole bars of each timeframe, since half a bar must not replace a
    whole one; one-second bars are read an hour at a time, which bounds InfluxDB's memory.
    """
    return tuple(
        f"{_select(rollup, database)} WHERE time >= {start}s AND time < {end}s "
        f"GROUP BY time({rollup.target.label}), market"
        for rollup in ROLLUPS
        if not rollup.name.endswith(LATE)
        for start, end in _chunks(from_s, to_s, rollup.target.seconds)
    )


def same_query(one: str, other: str) -> bool:
    """Whether two query texts mean the same: quotes, spaces and zero parts of times aside."""
    return _normal(one) == _normal(other)


def _select(rollup: Rollup, database: str) -> str:
    source, target = rollup.source, rollup.target
    return (
        f"SELECT {_COLUMNS} "
        f'INTO "{database}".{target.retention_policy}.{target.measurement} '
        f'FROM "{database}".{source.retention_policy}.{source.measurement}'
    )


def _chunks(from_s: int, to_s: int, length: int) -> Iterator[tuple[int, int]]:
    start, end = from_s // length * length, -(-to_s // length) * length
    step = max(3600, length)
    while start < end:
        yield start, min(start + step, end)
        start += step


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace('"', "")).strip().lower()
