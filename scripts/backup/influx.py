"""What is counted in InfluxDB before a backup and after a restore."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from scripts.backup.errors import BackupError
from scripts.backup.manifest import Counts, Days, Policy

Query = Callable[[str], Any]
"""Runs an InfluxQL statement; returns InfluxDB's JSON document."""

# Sums of the same numbers in another order differ in the last places.
SAME = 1e-9
DAY = timedelta(days=1)
ISO = "%Y-%m-%dT%H:%M:%SZ"

Fields = dict[str, tuple[int, float | None]]


def series(document: Any) -> list[dict[str, Any]]:
    """The series a statement was answered with. Raises `BackupError` if that was an error.

    InfluxDB's own client gives the answer to one statement as several results.
    """
    results = document.get("results") or []
    for result in results:
        if error := result.get("error"):
            raise BackupError(f"InfluxDB refuses a query: {error}")
    return [one for result in results for one in result.get("series") or ()]


def databases(query: Query) -> list[str]:
    """Names of all databases but InfluxDB's own."""
    names = [row[0] for one in series(query("SHOW DATABASES")) for row in one.get("values", ())]
    return [name for name in names if name != "_internal"]


def policies(query: Query, database: str) -> tuple[Policy, ...]:
    """The database's retention policies."""
    if database not in databases(query):
        return ()
    return tuple(
        Policy(row["name"], row["duration"], row["shardGroupDuration"], row["default"])
        for row in _rows(query(f'SHOW RETENTION POLICIES ON "{database}"'))
    )


def stored_bytes(query: Query, database: str) -> int:
    """Bytes of the database's shards on disk."""
    return sum(
        int(dict(zip(one["columns"], one["values"][0], strict=True)).get("diskBytes", 0))
        for one in series(query("SHOW STATS FOR 'shard'"))
        if one.get("tags", {}).get("database") == database
    )


def counts(query: Query, database: str, before: str) -> Counts:
    """Values per field, measurement and retention policy, of points older than `before`."""
    found: Counts = {}
    for policy in policies(query, database):
        # Written as a pattern, a source selects every measurement of the policy; fields that only
        # other measurements have are counted as null.
        statement = (
            f'SELECT count(*) FROM "{database}"."{policy.name}"./.*/ WHERE time < \'{before}\''
        )
        for one in series(query(statement)):
            fields = dict(zip(one["columns"], one["values"][0], strict=True))
            found[f"{policy.name}.{one['name']}"] = {
                name.removeprefix("count_"): number
                for name, number in sorted(fields.items())
                if name != "time" and number
            }
    return found


def days(query: Query, database: str, before: str, *, at_once: int = 1) -> Days:
    """Number and sum of the values per day, field, measurement and retention policy, of points
    older than `before`.

    A day of many markets is counted by the hour: no statement takes long, and writing goes on in
    between. `at_once`: how many statements run side by side, each on a processor of its own.
    """
    found: Days = {}

    def ask(span: tuple[str, str, str]) -> list[tuple[str, Fields]]:
        policy, start, end = span
        return list(_span(query, f'"{database}"."{policy}"', start, end))

    spans = list(_stored_spans(query, database, before))
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(ask, spans))
    for (policy, start, _), answer in zip(spans, answers, strict=True):
        for measurement, fields in answer:
            of_day = found.setdefault(f"{policy}.{measurement}", {}).setdefault(start[:10], {})
            for name, (number, total) in fields.items():
                old_number, old_total = of_day.get(name, (0, None))
                sums = [value for value in (old_total, total) if value is not None]
                of_day[name] = (old_number + number, sum(sums) if sums else None)
    return found


def _span(query: Query, source: str, start: str, end: str) -> Iterator[tuple[str, Fields]]:
    statement = (
        f"SELECT count(*), sum(*) FROM {source}./.*/ WHERE time >= '{start}' AND time < '{end}'"
    )
    for one in series(query(statement)):
        row = dict(zip(one["columns"], one["values"][0], strict=True))
        fields = {
            name.removeprefix("count_"): (number, row.get(f"sum_{name.removeprefix('count_')}"))
            for name, number in sorted(row.items())
            if name.startswith("count_") and number
        }
        if fields:
            yield one["name"], fields


def totals(by_day: Days) -> Counts:
    """The days together."""
    found: Counts = {}
    for measurement, of_days in by_day.items():
        fields = found.setdefault(measurement, {})
        for of_fields in of_days.values():
            for name, (number, _) in of_fields.items():
                fields[name] = fields.get(name, 0) + number
    return found


def settled(before: Days, after: Days) -> Days:
    """The days that are alike in both."""
    return {
        measurement: {
            day: fields
            for day, fields in of_days.items()
            if _same(fields, after.get(measurement, {}).get(day, {}))
        }
        for measurement, of_days in before.items()
    }


def fewer(before: Counts, after: Counts) -> list[str]:
    """One line for each field of which `after` has fewer values than `before`."""
    return [
        f"{measurement} {field}: {after.get(measurement, {}).get(field, 0)} instead of {number}"
        for measurement, fields in before.items()
        for field, number in fields.items()
        if after.get(measurement, {}).get(field, 0) < number
    ]


def different(before: Days, after: Days, until: str) -> list[str]:
    """One line for each day before `until` whose numbers or sums are not those of `before`."""
    return [
        f"{measurement} {day}: {_brief(after.get(measurement, {}).get(day, {}), fields)}"
        for measurement, of_days in before.items()
        for day, fields in of_days.items()
        if day < until and not _same(fields, after.get(measurement, {}).get(day, {}))
    ]


def _same(one: Fields, other: Fields) -> bool:
    return one.keys() == other.keys() and all(
        number == other[name][0] and _same_sum(total, other[name][1])
        for name, (number, total) in one.items()
    )


def _same_sum(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)


def _brief(found: Fields, expected: Fields) -> str:
    wrong = [
        f"{name} has {_words(found.get(name))} instead of {_words(wanted)}"
        for name, wanted in expected.items()
        if name not in found or not _same({name: wanted}, {name: found[name]})
    ]
    more = sorted(found.keys() - expected.keys())
    return "; ".join([*wrong, *(f"{name} is new" for name in more)])


def _words(value: tuple[int, float | None] | None) -> str:
    if value is None:
        return "no values"
    number, total = value
    return f"{number} values" + ("" if total is None else f" with the sum {total:g}")


def _stored_spans(query: Query, database: str, before: str) -> Iterator[tuple[str, str, str]]:
    """Each policy with each day that its shards span, ISO 8601; where these are shorter, with each
    of them."""
    spans: set[tuple[str, datetime, datetime]] = set()
    for row in _rows(query("SHOW SHARD GROUPS")):
        if row["database"] != database:
            continue
        start, end = (datetime.fromisoformat(row[name]) for name in ("start_time", "end_time"))
        if end - start >= DAY:
            start = start.replace(hour=0, minute=0, second=0)
        step = min(end - start, DAY)
        while start < end:
            spans.add((row["retention_policy"], start, start + step))
            start += step
    for policy, start, end in sorted(spans):
        if (first := f"{start:{ISO}}") < before:
            yield policy, first, min(f"{end:{ISO}}", before)


def _rows(document: Any) -> list[dict[str, Any]]:
    return [
        dict(zip(one["columns"], values, strict=True))
        for one in series(document)
        for values in one.get("values", ())
    ]
