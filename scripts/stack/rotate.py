"""New secrets for the stack: `rotate_secrets.sh`.

A new value is first kept beside the old one (`secrets/.NAME.next`), then made known to InfluxDB,
and only then put in the old one's place; whatever ends this in between, the next run completes it.
The services read their files when they start, so those that use the secret are restarted: Redis
first, then the rest together. Bars wait in the collector's spool meanwhile, stops on the exchange.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scripts.stack import containers, dotenv, native, secret_files
from scripts.stack.compose import engine_answers
from scripts.stack.progress import Progress
from scripts.stack.running import StackError
from scripts.stack.settings import merged

ROOT = Path(__file__).resolve().parents[2]

CLIENTS = (
    "aggr-server",
    "strategy-runner",
    "oi-tracker",
    "system-monitor",
    "health-monitor",
    "simulator",
    "backup",
)
USERS: Mapping[str, tuple[str, ...]] = {
    "redis_password": ("redis", "freqtrade", *CLIENTS),
    "influx_password": (*CLIENTS, "aggr-chronograf"),
    "freqtrade_api_password": (
        "freqtrade",
        "strategy-runner",
        "system-monitor",
        "health-monitor",
    ),
    "freqtrade_jwt_secret": ("freqtrade",),
    "page_password": ("health-monitor",),
}
"""Secret -> services that read it when they start."""

FIRST = ("redis",)
"""Restarted before the others, which could not log in otherwise."""


class Stack(Protocol):
    """A running stack, as far as this needs one."""

    def set_influx_password(self, new: str) -> None:
        """Give InfluxDB's user a new password, with the present one as the login.

        Raises `StackError`; if the login is refused, because it is the new one already, nothing is
        raised.
        """

    def restart(self, services: Iterable[str], progress: Progress) -> tuple[str, ...]:
        """Restart those that are there, wait until they are ready, and return them.

        Raises `StackError`.
        """


def rotate(
    folder: Path, names: Sequence[str], stack: Stack | None, progress: Progress
) -> tuple[str, ...]:
    """Replace secrets in `folder`; return the services that were restarted. Raises `StackError`.

    `stack` None: nothing is running, and the services get the new values when they start. InfluxDB
    keeps its password in its data and must be asked, so its own is only rotated while it runs.
    """
    if stack is None and "influx_password" in names:
        raise StackError(
            "InfluxDB must run to learn its new password. Start the stack first: ./scripts/up.sh"
        )
    for name in names:
        new = secret_files.stage(folder, name)
        if name == "influx_password":
            assert stack is not None
            stack.set_influx_password(new)
        secret_files.put_in_place(folder, name)
        progress.say(name, "replaced")
    users = tuple(dict.fromkeys(service for name in names for service in USERS[name]))
    if stack is None:
        return ()
    first = [service for service in users if service in FIRST]
    rest = [service for service in users if service not in FIRST]
    return (*stack.restart(first, progress), *stack.restart(rest, progress))


def refuse_settings(names: Iterable[str], given: Mapping[str, str]) -> None:
    """Raises `StackError` if a secret is not taken from its file in `secrets/`."""
    for name in names:
        for setting in (name.upper(), f"{name.upper()}_FILE"):
            if given.get(setting):
                raise StackError(
                    f"{setting} is set in .env or the environment, so a new secrets/{name} would "
                    "not be used. Remove it there, or change the value where it is kept."
                )


def main(arguments: list[str]) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="rotate_secrets.sh",
        description="Replace generated secrets by new ones and restart what uses them. "
        f"Known: {', '.join(USERS)}. Keys of an exchange are replaced by writing new ones into "
        "their files and restarting freqtrade.",
    )
    parser.add_argument("names", nargs="+", choices=[*USERS, "all"], metavar="NAME|all")
    chosen = parser.parse_args(arguments)
    names = tuple(USERS) if "all" in chosen.names else tuple(dict.fromkeys(chosen.names))
    try:
        given = merged(dotenv.read(ROOT / ".env"))
        refuse_settings(names, given)
        secret_files.ensure(ROOT / "secrets")
        restarted = rotate(ROOT / "secrets", names, _running(ROOT), Progress())
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"New: {', '.join(names)}. Restarted: {', '.join(restarted) or 'nothing, none runs'}.")
    return 0


def _running(root: Path) -> Stack | None:
    if (local := native.running(root)) is not None:
        return local
    return containers.running(root) if engine_answers() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
