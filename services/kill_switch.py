"""Stop all entries at once, or allow them again. Exits, stops and CLOSE signals go on.

`on` halts, `off` lifts, `status` tells. The switch stays as it was set whatever is restarted.
Ends with status 0 once the executor has confirmed, else with 1.

In a container: `python -m services.kill_switch on`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
import time
from collections.abc import Mapping

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from aggr_server.env import SettingsError, load
from aggr_server.settings import Connections
from services.core.records import Halt
from services.core.switch import KillSwitch

TIMEOUT_S = 10.0


def describe(record: Halt) -> str:
    """One line: halted or allowed, since when, by whom, why."""
    if record.ts_ms == 0:
        return "entries are allowed, the switch was never thrown"
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.ts_ms / 1000))
    state = "halted" if record.halted else "allowed"
    by = f" by {record.by}" if record.by else ""
    reason = f": {record.reason}" if record.reason else ""
    return f"entries are {state} since {when}{by}{reason}"


def show(switch: KillSwitch) -> int:
    """Print the switch and whether the executor goes by it."""
    record = switch.read()
    print(describe(record))
    if record.ts_ms == 0 or switch.is_seen(record):
        return 0
    print("the executor has not confirmed it; python3 scripts/health_check.py tells how it is")
    return 1


def throw(switch: KillSwitch, *, halted: bool, reason: str, timeout_s: float) -> int:
    """Set the switch and wait for the executor."""
    record = switch.throw(halted=halted, by=operator(), reason=reason)
    if switch.await_seen(record, timeout_s):
        print(f"{describe(record)}; the executor has confirmed")
        return 0
    print(
        f"The switch is set, but freqtrade has not confirmed it within {timeout_s:g} s: it is down "
        "or hangs. It goes by the switch before its next entry. How it is: "
        "python3 scripts/health_check.py",
        file=sys.stderr,
    )
    return 1


def operator() -> str:
    """Who runs this, `USER@HOST`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="kill_switch.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("position", choices=("on", "off", "status"))
    made.add_argument("--reason", default="", metavar="TEXT", help="why, for whoever asks later")
    made.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to wait for the executor, {TIMEOUT_S:g} unless told",
    )
    return made


def main(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do as asked; the exit status."""
    try:
        settings = load(Connections, environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        with connect(settings) as redis:
            switch = KillSwitch(redis)
            if options.position == "status":
                return show(switch)
            return throw(
                switch,
                halted=options.position == "on",
                reason=options.reason,
                timeout_s=options.timeout,
            )
    except RedisError as error:
        where = f"{settings.redis_host}:{settings.redis_port}"
        print(
            f"Redis at {where} does not answer: {str(error).rstrip('.')}. It is not certain that "
            "the switch is set. freqtrade enters nothing without Redis; start it (./scripts/up.sh) "
            "and run this again at once, or stop freqtrade first.",
            file=sys.stderr,
        )
        return 1


def connect(settings: Connections) -> Redis:
    """A client that gives up after three seconds."""
    return Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password or None,
        socket_timeout=3.0,
        socket_connect_timeout=3.0,
        retry=Retry(NoBackoff(), 0),
    )


if __name__ == "__main__":
    sys.exit(main(parser().parse_args(), os.environ))
