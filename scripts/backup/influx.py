"""What is counted in InfluxDB before a backup and after a restore."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.backup.manifest import BackupError, Counts

Query = Callable[[str], Any]
"""Runs an InfluxQL statement; returns InfluxDB's JSON document."""


def series(document: Any) -> list[dict[str, Any]]:
    """The series of the first result. Raises `BackupError` if InfluxDB answered with an error."""
    results = document.get("results") or [{}]
    if error := results[0].get("error"):
        raise BackupError(f"InfluxDB refuses a query: {error}")
    found: list[dict[str, Any]] = results[0].get("series") or []
    return found


def databases(query: Query) -> list[str]:
    """Names of all databases but InfluxDB's own."""
    names = [row[0] for one in series(query("SHOW DATABASES")) for row in one.get("values", ())]
    return [name for name in names if name != "_internal"]


def counts(query: Query, database: str, before: str) -> Counts:
    """Values per field, measurement and retention policy, of points older than `before`."""
    if database not in databases(query):
        return {}
    policies = [
        row[0]
        for one in series(query(f'SHOW RETENTION POLICIES ON "{database}"'))
        for row in one["values"]
    ]
    found: Counts = {}
    for policy in policies:
        # Written as a pattern, a source selects every measurement of the policy; fields that only
        # other measurements have are counted as null.
        statement = f'SELECT count(*) FROM "{database}"."{policy}"./.*/ WHERE time < \'{before}\''
        for one in series(query(statement)):
            fields = dict(zip(one["columns"], one["values"][0], strict=True))
            found[f"{policy}.{one['name']}"] = {
                name.removeprefix("count_"): number
                for name, number in sorted(fields.items())
                if name != "time" and number
            }
    return found


def fewer(before: Counts, after: Counts) -> list[str]:
    """One line for each field of which `after` has fewer values than `before`."""
    return [
        f"{measurement} {field}: {after.get(measurement, {}).get(field, 0)} instead of {number}"
        for measurement, fields in before.items()
        for field, number in fields.items()
        if after.get(measurement, {}).get(field, 0) < number
    ]
