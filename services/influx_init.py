"""Create or update the InfluxDB schema, then end: `python -m services.influx_init`.

Run it as often as you like: what is right already is left alone. Ends with status 0, with 1 if
InfluxDB refuses, and with 78 if a setting is wrong.

`--rebuild-hours N` also computes the longer bars of the last N hours again from the stored
shorter ones, for use after an outage longer than the continuous queries look back.

`--new-password` gives the user the password that is read from standard input, and does no more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import requests
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError, InfluxDBServerError

from aggr_server.env import SettingsError, load
from services.core import schema
from services.core.service import BAD_SETTINGS_EXIT
from services.core.settings import InfluxSchemaSettings

RETRY_S = 2.0
NO_USER_YET = "create admin user first"

Say = Callable[[str], None]


class Refused(Exception):
    """InfluxDB answered and will not do it; trying again is useless. The text has the remedy."""


def say(text: str) -> None:
    """Print a line at once, so that it is seen while the next step waits."""
    print(f"influx-init: {text}", flush=True)


def connect(settings: InfluxSchemaSettings, *, login: bool = True) -> InfluxDBClient:
    """A client that neither repeats requests nor looks at proxy variables."""
    session = requests.Session()
    session.trust_env = False
    user = (settings.influx_username, settings.influx_password)
    known = login and bool(settings.influx_password)
    return InfluxDBClient(
        host=settings.influx_host,
        port=settings.influx_port,
        username=user[0] if known else None,
        password=user[1] if known else None,
        timeout=10,
        retries=1,
        session=session,
    )


def wait_until_up(settings: InfluxSchemaSettings, *, pause_s: float = RETRY_S) -> None:
    """Return when InfluxDB answers; says so now and then while it does not."""
    address = f"{settings.influx_host}:{settings.influx_port}"
    client, tries = connect(settings), 0
    with client:
        while True:
            try:
                client.ping()
                return
            except (requests.RequestException, InfluxDBServerError, InfluxDBClientError) as error:
                if tries % 5 == 0:
                    reason = type(error).__name__
                    say(
                        f"InfluxDB at {address} does not answer ({reason}), trying again every "
                        f"{pause_s:g} s. Start it, or correct INFLUX_HOST and INFLUX_PORT."
                    )
                tries += 1
                time.sleep(pause_s)


def ensure_user(settings: InfluxSchemaSettings, report: Say = say) -> None:
    """Create the administrator if there is no user yet, and prove that the login works.

    InfluxDB lets anyone create the first administrator. Raises `Refused` for a wrong password.
    """
    name = settings.influx_username
    if not settings.influx_password:
        return
    with connect(settings, login=False) as anyone:
        users = _users(anyone)
        if users is not None and name not in users:
            anyone.create_user(name, settings.influx_password, admin=True)
            report(f"created administrator {name}")
    with connect(settings) as client:
        try:
            client.get_list_database()
        except InfluxDBClientError as error:
            raise Refused(
                f"InfluxDB refuses user {name!r} ({_reason(error)}). Set INFLUX_USERNAME and "
                "INFLUX_PASSWORD to an administrator that exists, or change the password in "
                f"InfluxDB: SET PASSWORD FOR \"{name}\" = '...'"
            ) from error


def _users(anyone: InfluxDBClient) -> list[str] | None:
    """Names of the users; None if the server wants a login before it tells."""
    try:
        return [user["user"] for user in anyone.query("SHOW USERS").get_points()]
    except InfluxDBClientError as error:
        if NO_USER_YET in str(error):
            return []
        if error.code == 401:
            return None
        raise


def set_password(settings: InfluxSchemaSettings, new: str) -> None:
    """Give the user of `settings` a new password; well if it has it already.

    Raises `Refused` if neither the present password nor the new one is taken.
    """
    with connect(settings) as client:
        try:
            client.set_user_password(settings.influx_username, new)
            return
        except InfluxDBClientError as error:
            if error.code != 401:
                raise
    with connect(msgspec.structs.replace(settings, influx_password=new)) as client:
        try:
            client.get_list_database()
        except InfluxDBClientError as error:
            raise Refused(
                f"InfluxDB refuses user {settings.influx_username!r} ({_reason(error)}), so its "
                "password cannot be changed. Put the right one into secrets/influx_password."
            ) from error


def apply_schema(
    client: InfluxDBClient, settings: InfluxSchemaSettings, report: Say = say
) -> list[str]:
    """Make the database what `services.core.schema` says. Answers what was changed."""
    changes: list[str] = []

    def done(text: str) -> None:
        changes.append(text)
        report(text)

    policies = schema.retention_policies(settings)
    database = settings.influx_database
    if database not in {row["name"] for row in client.get_list_database()}:
        client.create_database(database)
        done(f"created database {database}")
    _apply_policies(client, database, policies, done)
    _apply_queries(client, database, done)
    return changes


def _apply_policies(
    client: InfluxDBClient,
    database: str,
    policies: tuple[schema.RetentionPolicy, ...],
    done: Say,
) -> None:
    present = {row["name"]: row for row in client.get_list_retention_policies(database)}
    for policy in policies:
        row = present.get(policy.name)
        if row is None:
            verb = "CREATE"
        elif _differs(row, policy):
            verb = "ALTER"
        else:
            continue
        default = " DEFAULT" if policy.default else ""
        client.query(
            f'{verb} RETENTION POLICY "{policy.name}" ON "{database}" '
            f"DURATION {policy.duration_s}s REPLICATION 1 SHARD DURATION {policy.shard_s}s"
            f"{default}",
            method="POST",
        )
        what = "created" if row is None else f"changed from {row['duration']}"
        done(f"{what} retention policy {policy.name}: {policy.duration_s // 3600} h{default}")


def _differs(row: dict[str, Any], policy: schema.RetentionPolicy) -> bool:
    return (
        _go_duration_s(row["duration"]) != policy.duration_s
        or _go_duration_s(row["shardGroupDuration"]) != policy.shard_s
        or (policy.default and not row["default"])
    )


def _apply_queries(client: InfluxDBClient, database: str, done: Say) -> None:
    present = {
        row["name"]: row["query"]
        for name, rows in _series(client, "SHOW CONTINUOUS QUERIES")
        if name == database
        for row in rows
    }
    for rollup in schema.ROLLUPS:
        text = schema.continuous_query(rollup, database)
        old = present.get(rollup.name)
        if old is not None and schema.same_query(old, text):
            continue
        if old is not None:
            client.query(f'DROP CONTINUOUS QUERY "{rollup.name}" ON "{database}"', method="POST")
        client.query(text, method="POST")
        verb = "created" if old is None else "replaced"
        done(
            f"{verb} continuous query {rollup.name}: {rollup.source.label} to "
            f"{rollup.target.label}, every {rollup.every} over {rollup.over}"
        )


def _series(client: InfluxDBClient, query: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    result = client.query(query)
    for (name, _), rows in result.items():
        yield name, list(rows)


def rebuild(client: InfluxDBClient, database: str, hours: int, report: Say = say) -> None:
    """Compute the longer bars of the last `hours` again, an hour at a time."""
    now = int(time.time())
    written = 0
    for statement in schema.rebuild_statements(database, now - hours * 3600, now):
        points = client.query(statement, method="POST").get_points()
        written += sum(point["written"] for point in points)
    report(f"rebuilt the longer bars of the last {hours} h: {written} written")


def _go_duration_s(text: str) -> int:
    """Seconds in `720h0m0s`."""
    total, number = 0, ""
    for char in text:
        if char.isdigit():
            number += char
        else:
            total += int(number) * {"h": 3600, "m": 60, "s": 1}[char]
            number = ""
    return total


def _reason(error: InfluxDBClientError) -> str:
    return str(error).strip().split(":", 1)[-1].strip()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="influx_init", description="Create the InfluxDB schema.")
    parser.add_argument("--rebuild-hours", type=int, default=0, metavar="N")
    parser.add_argument("--new-password", action="store_true")
    options = parser.parse_args(arguments)
    try:
        settings = load(InfluxSchemaSettings)
        if options.new_password:
            set_password(settings, sys.stdin.readline().strip())
            return 0
        schema.retention_policies(settings)
        wait_until_up(settings)
        ensure_user(settings)
        with connect(settings) as client:
            changes = apply_schema(client, settings)
            if options.rebuild_hours > 0:
                rebuild(client, settings.influx_database, options.rebuild_hours)
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"influx-init: {line}", file=sys.stderr)
        return BAD_SETTINGS_EXIT
    except Refused as error:
        print(f"influx-init: {error}", file=sys.stderr)
        return 1
    except (InfluxDBClientError, InfluxDBServerError, requests.RequestException) as error:
        # The supervisor or Compose starts a failed one-shot again.
        print(f"influx-init: InfluxDB failed: {error}", file=sys.stderr)
        return 1
    say(f"schema of {settings.influx_database} is ready, {len(changes)} changes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
