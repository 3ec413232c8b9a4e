"""Retention policies and rollups."""

from __future__ import annotations

from itertools import pairwise

import pytest

from aggr_server.env import SettingsError
from aggr_server.wire import TIMEFRAMES
from services.core import schema
from services.core.settings import InfluxSchemaSettings

HOUR = 3600


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)])
def test_durations(text: str, seconds: int) -> None:
    assert schema.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "0h", "1.5d", "24m", " 24h"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        schema.duration_s(text)


def test_every_timeframe_has_a_policy_and_exactly_one_is_the_default() -> None:
    policies = schema.retention_policies(InfluxSchemaSettings())
    assert {p.name for p in policies} == {"30_days"} | {t.retention_policy for t in TIMEFRAMES}
    assert [p.name for p in policies if p.default] == ["30_days"]
    assert all(HOUR <= p.shard_s < p.duration_s for p in policies)


def test_one_second_bars_must_outlive_the_windows_that_read_them() -> None:
    with pytest.raises(SettingsError, match="INFLUX_RETENTION_1S"):
        schema.retention_policies(InfluxSchemaSettings(influx_retention_1s="5h"))


def test_every_timeframe_above_one_second_is_built_from_the_next_shorter() -> None:
    built = {(r.source.label, r.target.label) for r in schema.ROLLUPS}
    labels = [timeframe.label for timeframe in TIMEFRAMES]
    assert built == set(pairwise(labels))


def test_what_enters_late_at_one_level_is_still_inside_the_window_of_the_next() -> None:
    reach = {"1s": 0}
    for rollup in schema.ROLLUPS:
        reach[rollup.target.label] = max(reach.get(rollup.target.label, 0), seconds(rollup.over))
    for rollup in schema.ROLLUPS:
        if rollup.source.label == "1s":
            continue
        below = max(
            seconds(r.over) + seconds(r.every) for r in schema.ROLLUPS if r.target == rollup.source
        )
        assert reach[rollup.target.label] >= below + rollup.source.seconds


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": HOUR}[text[-1]]


def test_rebuilding_covers_whole_bars_only() -> None:
    statements = schema.rebuild_statements("db", 7205, 7206)
    hours = [s for s in statements if "trades_4h" in s]
    assert len(hours) == 1
    assert "time >= 0s AND time < 14400s" in hours[0]
    minutes = [s for s in statements if "INTO" in s and "trades_1m FROM" in s]
    assert [s.split("WHERE ")[1].split(" GROUP")[0] for s in minutes] == [
        "time >= 7200s AND time < 7260s"
    ]


def test_long_ranges_are_read_an_hour_at_a_time() -> None:
    minutes = [s for s in schema.rebuild_statements("db", 0, 3 * HOUR) if "trades_1m FROM" in s]
    assert len(minutes) == 3


def test_query_texts_are_compared_without_quotes_and_spaces() -> None:
    assert schema.same_query('SELECT  a FROM "b"."c"', "select a FROM b.c")
    assert not schema.same_query("SELECT a FROM b", "SELECT a FROM c")
