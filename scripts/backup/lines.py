"""The second format: InfluxDB's points as compressed line protocol, one file per measurement.

Any InfluxDB and many other databases read it, without our programs too:
`influx -import -compressed -precision ns -path FILE`, unless a text in it holds a line feed, which
that program takes for the end of a point.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from scripts.backup import line_file
from scripts.backup.errors import BackupError
from scripts.backup.influx import Query, series
from scripts.backup.manifest import Policy

SUFFIX = ".lp.gz"
SHORTEST_WINDOW = timedelta(minutes=10)
_WINDOWS_PER_SHARD = 24


def export(query: Query, database: str, policies: tuple[Policy, ...], before: str, to: Path) -> int:
    """Write all points older than `before` into the folder; return their number.

    `query` must answer times in nanoseconds. A short window of a measurement is read at a time.
    """
    total = 0
    windows = _windows(query, database)
    for policy in policies:
        spans = [
            (start, min(end, before))
            for start, end in windows.get(policy.name, ())
            if start < before
        ]
        for measurement in sorted(_measurements(query, database, policy.name)):
            path = to / f"{policy.name}.{_file_name(measurement)}{SUFFIX}"
            number = _export(query, database, policy, measurement, spans, path)
            total += number
            if not number:
                path.unlink()
    return total


def _export(
    query: Query,
    database: str,
    policy: Policy,
    measurement: str,
    spans: list[tuple[str, str]],
    path: Path,
) -> int:
    source = f'"{database}"."{policy.name}".{_quoted(measurement)}'
    types = _types(query, database, policy.name, measurement)
    number = 0
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        file.write(_head(database, policy))
        for start, end in spans:
            window = f"time >= '{start}' AND time < '{end}'"
            for one in series(query(f"SELECT * FROM {source} WHERE {window} GROUP BY *")):
                number += _write(file, measurement, one, types)
    return number


def batches(path: Path) -> Iterator[bytes]:
    """The points of a file, some thousand at a time. Raises `BackupError`."""
    try:
        with path.open("rb") as file:
            yield from line_file.batches(file)
    except (OSError, EOFError) as error:
        raise BackupError(f"{path} is damaged: {error}. Restore another backup.") from error


def policy_of(path: Path, policies: tuple[Policy, ...]) -> str:
    """Name of the retention policy a file belongs to. Raises `BackupError`."""
    found = [policy.name for policy in policies if path.name.startswith(f"{policy.name}.")]
    if not found:
        raise BackupError(f"{path} belongs to none of the retention policies in the manifest.")
    return max(found, key=len)


def definitions(database: str, policies: tuple[Policy, ...]) -> tuple[list[str], list[str]]:
    """Statements before and after the points: what is old must not be refused meanwhile."""
    before, after = [], []
    for policy in sorted(policies, key=lambda policy: not policy.default):
        on = f'RETENTION POLICY "{policy.name}" ON "{database}"'
        size = f"DURATION INF REPLICATION 1 SHARD DURATION {policy.shard}"
        if policy.default:
            before.append(f'CREATE DATABASE "{database}" WITH {size} NAME "{policy.name}"')
        else:
            before.append(f"CREATE {on} {size}")
        duration = "INF" if policy.duration == "0s" else policy.duration
        after.append(f"ALTER {on} DURATION {duration} SHARD DURATION {policy.shard}")
    return before, after


def _head(database: str, policy: Policy) -> str:
    duration = "INF" if policy.duration == "0s" else policy.duration
    return (
        f'# DDL\nCREATE DATABASE "{database}"\n'
        f'CREATE RETENTION POLICY "{policy.name}" ON "{database}" DURATION {duration} '
        f"REPLICATION 1 SHARD DURATION {policy.shard}\n# DML\n"
        f"# CONTEXT-DATABASE: {database}\n# CONTEXT-RETENTION-POLICY: {policy.name}\n"
    )


def _windows(query: Query, database: str) -> dict[str, list[tuple[str, str]]]:
    """Policy -> stretches of time, ISO 8601, that cover its shards."""
    found: dict[str, list[tuple[str, str]]] = {}
    for one in series(query("SHOW SHARD GROUPS")):
        for values in one.get("values", ()):
            row = dict(zip(one["columns"], values, strict=True))
            if row["database"] != database:
                continue
            start, end = (datetime.fromisoformat(row[name]) for name in ("start_time", "end_time"))
            step = max(SHORTEST_WINDOW, (end - start) / _WINDOWS_PER_SHARD)
            while start < end:
                window = (_iso(start), _iso(min(start + step, end)))
                found.setdefault(row["retention_policy"], []).append(window)
                start += step
    return {policy: sorted(windows) for policy, windows in found.items()}


def _measurements(query: Query, database: str, policy: str) -> list[str]:
    statement = f'SHOW FIELD KEYS FROM "{database}"."{policy}"./.*/'
    return [one["name"] for one in series(query(statement))]


def _types(query: Query, database: str, policy: str, measurement: str) -> dict[str, str]:
    statement = f'SHOW FIELD KEYS FROM "{database}"."{policy}".{_quoted(measurement)}'
    return {name: kind for one in series(query(statement)) for name, kind in one["values"]}


def _write(file: IO[str], measurement: str, one: dict[str, Any], types: dict[str, str]) -> int:
    tags = "".join(
        f",{_escaped(name)}={_escaped(value)}"
        for name, value in one.get("tags", {}).items()
        if value
    )
    head = measurement.replace(",", r"\,").replace(" ", r"\ ") + tags
    names = [(index, name) for index, name in enumerate(one["columns"]) if name != "time"]
    for values in one["values"]:
        fields = ",".join(
            f"{_escaped(name)}={_value(values[index], types[name])}"
            for index, name in names
            if values[index] is not None
        )
        file.write(f"{head} {fields} {values[0]}\n")
    return len(one["values"])


def _value(value: Any, kind: str) -> str:
    if kind == "integer":
        return f"{value}i"
    if kind == "string":
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return repr(value) if kind == "float" else str(value).lower()


def _escaped(text: str) -> str:
    return text.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _file_name(measurement: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else f"%{ord(c):x}" for c in measurement)


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
