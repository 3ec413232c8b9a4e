"""Which days of a restored database are not what they were."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.backup import influx
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Days

BEFORE: Days = {
    "aggr_1m.trades_1m": {
        "2026-05-01": {"vbuy": (3, 1.5), "note": (1, None)},
        "2026-05-02": {"vbuy": (2, 4.0)},
    }
}


def test_equal_days_are_not_named() -> None:
    same: Days = {"aggr_1m.trades_1m": {**BEFORE["aggr_1m.trades_1m"]}, "more": {}}

    assert influx.different(BEFORE, same, "9999") == []


def test_another_sum_of_as_many_values_is_named_with_its_day() -> None:
    after: Days = {
        "aggr_1m.trades_1m": {
            **BEFORE["aggr_1m.trades_1m"],
            "2026-05-02": {"vbuy": (2, 4.5), "vsell": (1, 1.0)},
        }
    }

    assert influx.different(BEFORE, after, "9999") == [
        "aggr_1m.trades_1m 2026-05-02: vbuy has 2 values with the sum 4.5 instead of 2 values with "
        "the sum 4; vsell is new"
    ]
    assert influx.different(BEFORE, after, "2026-05-02") == []


def test_a_day_that_is_missing_is_named() -> None:
    assert influx.different(BEFORE, {}, "2026-05-02") == [
        "aggr_1m.trades_1m 2026-05-01: vbuy has no values instead of 3 values with the sum 1.5; "
        "note has no values instead of 1 values"
    ]


def test_sums_may_differ_in_the_last_place() -> None:
    after: Days = {
        "aggr_1m.trades_1m": {
            **BEFORE["aggr_1m.trades_1m"],
            "2026-05-02": {"vbuy": (2, 4.0 * (1 + 1e-12))},
        }
    }

    assert influx.different(BEFORE, after, "9999") == []


def test_only_days_that_stood_still_are_settled() -> None:
    after: Days = {
        "aggr_1m.trades_1m": {
            **BEFORE["aggr_1m.trades_1m"],
            "2026-05-02": {"vbuy": (3, 5.0)},
        }
    }

    settled = influx.settled(BEFORE, after)

    assert {*settled["aggr_1m.trades_1m"]} == {"2026-05-01"}


def test_the_days_together_are_the_counts() -> None:
    assert influx.totals(BEFORE) == {"aggr_1m.trades_1m": {"vbuy": 5, "note": 1}}


def test_days_are_asked_for_by_shard_and_never_beyond_the_backup() -> None:
    asked: list[str] = []

    def query(statement: str) -> Any:
        asked.append(statement)
        if statement != "SHOW SHARD GROUPS":
            return {"results": [{}]}
        columns = ["id", "database", "retention_policy", "start_time", "end_time", "expiry_time"]
        rows = [
            [1, "db", "1h", "2026-05-01T22:00:00Z", "2026-05-01T23:00:00Z", ""],
            [2, "db", "1h", "2026-05-01T23:00:00Z", "2026-05-02T00:00:00Z", ""],
            [3, "db", "7d", "2026-04-27T00:00:00Z", "2026-05-04T00:00:00Z", ""],
            [4, "other", "7d", "2026-04-27T00:00:00Z", "2026-05-04T00:00:00Z", ""],
        ]
        return {"results": [{"series": [{"columns": columns, "values": rows}]}]}

    influx.days(query, "db", "2026-05-01T23:30:00Z")

    times = [statement.partition("WHERE ")[2] for statement in asked[1:]]
    assert times[:2] == [
        "time >= '2026-05-01T22:00:00Z' AND time < '2026-05-01T23:00:00Z'",
        "time >= '2026-05-01T23:00:00Z' AND time < '2026-05-01T23:30:00Z'",
    ]
    assert len(times) == 2 + 5
    assert times[-1] == "time >= '2026-05-01T00:00:00Z' AND time < '2026-05-01T23:30:00Z'"


def test_an_answer_in_several_parts_is_taken_whole() -> None:
    parts = [{"series": [{"name": "a"}]}, {}, {"series": [{"name": "b"}, {"name": "c"}]}]

    assert [one["name"] for one in influx.series({"results": parts})] == ["a", "b", "c"]
    with pytest.raises(BackupError, match="no room"):
        influx.series({"results": [*parts, {"error": "no room"}]})
