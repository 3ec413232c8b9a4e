"""Line protocol is written such that InfluxDB reads back what it held."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from scripts.backup import line_file, lines
from scripts.backup.errors import BackupError
from scripts.backup.manifest import Policy

POLICIES = (
    Policy("30_days", "720h0m0s", "24h0m0s", True),
    Policy("aggr_1s", "24h0m0s", "1h0m0s", False),
    Policy("for_ever", "0s", "168h0m0s", False),
)


def _query(statement: str) -> Any:
    if statement == "SHOW SHARD GROUPS":
        columns = ["database", "retention_policy", "start_time", "end_time"]
        row = ["db", "aggr_1s", "2026-05-01T00:00:00Z", "2026-05-01T01:00:00Z"]
        return _answer({"columns": columns, "values": [row]})
    if statement.startswith("SHOW FIELD KEYS"):
        values = [["n", "integer"], ["x", "float"], ["s", "string"], ["b", "boolean"]]
        return _answer({"name": "a b", "columns": ["fieldKey", "fieldType"], "values": values})
    if "'2026-05-01T00:10:00Z' AND" not in statement:
        return _answer()
    return _answer(
        {
            "name": "a b",
            "tags": {"market": "X,y=z", "empty": ""},
            "columns": ["time", "b", "n", "s", "x"],
            "values": [[1, True, 7, 'say "a\\b"\n# c\n\nd', 1e-12], [2, None, None, None, 5]],
        }
    )


def _answer(*series: dict[str, Any]) -> Any:
    return {"results": [{"series": list(series)}]}


def test_points_are_written_with_their_types_and_escapes(tmp_path: Path) -> None:
    policies = POLICIES[1:2]

    number = lines.export(_query, "db", policies, "2026-05-02T00:00:00Z", tmp_path)

    [path] = tmp_path.iterdir()
    assert number == 2
    assert path.name == "aggr_1s.a%20b.lp.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    assert text.split("# CONTEXT-RETENTION-POLICY: aggr_1s\n")[1] == (
        'a\\ b,market=X\\,y\\=z b=true,n=7i,s="say \\"a\\\\b\\"\n# c\n\nd",x=1e-12 1\n'
        "a\\ b,market=X\\,y\\=z x=5 2\n"
    )


def test_batches_hold_the_points_alone_and_none_in_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_file, "BATCH_LINES", 1)
    lines.export(_query, "db", POLICIES[1:2], "2026-05-02T00:00:00Z", tmp_path)
    [path] = tmp_path.iterdir()

    first, second = lines.batches(path)

    assert first.startswith(b"a\\ b,")
    assert first.endswith(b'\n# c\n\nd",x=1e-12 1\n')
    assert second == b"a\\ b,market=X\\,y\\=z x=5 2\n"


def test_half_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "aggr_1s.bars.lp.gz"
    path.write_bytes(gzip.compress(b"# DML\n" + b"bars x=1 1\n" * 10_000)[:-20])

    with pytest.raises(BackupError, match="is damaged"):
        list(lines.batches(path))


def test_what_is_old_is_not_refused_while_it_is_written_back() -> None:
    before, after = lines.definitions("db", POLICIES)

    assert before[0] == (
        'CREATE DATABASE "db" WITH DURATION INF REPLICATION 1 SHARD DURATION 24h0m0s NAME "30_days"'
    )
    assert all("DURATION INF" in statement for statement in before)
    assert [statement.split("DURATION ")[1] for statement in after] == [
        "720h0m0s SHARD ",
        "24h0m0s SHARD ",
        "INF SHARD ",
    ]


def test_a_file_belongs_to_the_policy_it_is_named_after() -> None:
    assert lines.policy_of(Path("aggr_1s.trades_1s.lp.gz"), POLICIES) == "aggr_1s"
    with pytest.raises(BackupError, match="none of the retention policies"):
        lines.policy_of(Path("other.trades.lp.gz"), POLICIES)
