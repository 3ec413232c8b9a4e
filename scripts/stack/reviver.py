"""Lets supervisord begin anew with a program it has given up, or that stands still.

Runs as its event listener.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from supervisor import childutils

FROZEN_S = 90.0
"""Well after the alert, which comes within a minute: whoever looks may want to see it as it is."""


class Heartbeats:
    """Which programs stand still, by the files that their loops touch.

    A file that is not there, or that was last touched before the program started, tells nothing.
    How long it stands still is measured by a clock that nobody sets.
    """

    def __init__(
        self, folder: Path, frozen_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._frozen_s = frozen_s
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, int, float]] = {}

    def frozen(self, programs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Names of those, of supervisord's descriptions, that run and stand still."""
        now_s = self._monotonic()
        found = []
        for program in programs:
            name, pid = str(program["name"]), int(program["pid"])
            try:
                touched_ns = (self._folder / f"{name}.alive").stat().st_mtime_ns
            except OSError:
                continue
            known = self._seen.get(name)
            if known is None or known[:2] != (pid, touched_ns):
                self._seen[name] = (pid, touched_ns, now_s)
            elif (
                program["statename"] == "RUNNING"
                and touched_ns >= int(program["start"]) * 1_000_000_000
                and now_s - known[2] >= self._frozen_s
            ):
                del self._seen[name]
                found.append(name)
        return found


def serve(
    stdin: TextIO,
    stdout: TextIO,
    supervisor: xmlrpc.client.ServerProxy,
    heartbeats: Heartbeats | None = None,
) -> None:
    """Answer supervisord's events until it closes the pipe."""
    while True:
        print("READY", file=stdout, flush=True)
        header = stdin.readline()
        if not header:
            return
        event = childutils.get_headers(header)
        payload = childutils.get_headers(stdin.read(int(event["len"])))
        if event["eventname"].startswith("TICK"):
            if heartbeats is not None:
                _end_frozen(supervisor, heartbeats)
        else:
            _begin_anew(supervisor, payload["processname"])
        stdout.write("RESULT 2\nOK")
        stdout.flush()


def _begin_anew(supervisor: xmlrpc.client.ServerProxy, process: str) -> None:
    print(f"{process} keeps ending; starting it again", file=sys.stderr, flush=True)
    try:
        supervisor.supervisor.startProcess(process, False)
    except xmlrpc.client.Fault as fault:
        print(f"{process}: {fault.faultString}", file=sys.stderr, flush=True)


def _end_frozen(supervisor: xmlrpc.client.ServerProxy, heartbeats: Heartbeats) -> None:
    programs = cast(list[dict[str, Any]], supervisor.supervisor.getAllProcessInfo())
    for name in heartbeats.frozen(programs):
        print(f"{name} stands still; ending it", file=sys.stderr, flush=True)
        try:
            # What is frozen takes no other signal; supervisord starts it again.
            supervisor.supervisor.signalProcess(name, "KILL")
        except xmlrpc.client.Fault as fault:
            print(f"{name}: {fault.faultString}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Entry point, as supervisord starts it."""
    parser = argparse.ArgumentParser(prog="reviver", description=__doc__)
    parser.add_argument("--heartbeats", type=Path, metavar="DIR", help="folder of heartbeat files")
    parser.add_argument("--frozen-s", type=float, default=FROZEN_S, metavar="SECONDS")
    chosen = parser.parse_args(arguments)
    watched = Heartbeats(chosen.heartbeats, chosen.frozen_s) if chosen.heartbeats else None
    serve(sys.stdin, sys.stdout, childutils.getRPCInterface(os.environ), watched)


if __name__ == "__main__":
    main(sys.argv[1:])
