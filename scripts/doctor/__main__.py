"""Looks at everything that can keep the stack from starting or working, side by side.

Works before anything is installed, while the stack runs, and when it is broken. Changes nothing.
Asks the exchanges that are to be collected one harmless question each, and nobody else.

Exit status: 0 nothing is wrong, 1 warnings only, 2 something fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from scripts.doctor import (
    engine,
    files,
    findings,
    listening,
    machine,
    network,
    stack,
    store,
    values,
)
from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import Site, examine

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 15.0
PIPE_CLOSED_EXIT = 141
"""As a shell has it: whoever read the answer has gone away."""

Check = Callable[[Site], Iterator[Finding]]

CHECKS: Mapping[str, tuple[str, Check]] = {
    "machine": ("Machine", machine.check),
    "engine": ("Docker", engine.check),
    "files": ("Files", files.check),
    "settings": ("Settings", values.check),
    "ports": ("Ports", listening.check),
    "exchanges": ("Network", network.check_exchanges),
    "clock": ("Network", network.check_clock),
    "services": ("Services", stack.check),
    "data": ("Data", store.check),
}
"""Name -> group and check, in the order they are told."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="doctor.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    parser.add_argument("--offline", action="store_true", help="ask nobody outside this machine")
    parser.add_argument(
        "--install", action="store_true", help="fetch the project's Python packages first"
    )
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    found = look(examine(ROOT, offline=chosen.offline))
    if chosen.json:
        print(findings.document(found, time.monotonic() - began))
    else:
        colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(findings.text(found, colours=colours))
    return findings.exit_status(found)


def look(
    site: Site,
    checks: Mapping[str, tuple[str, Check]] = CHECKS,
    patience_s: float = PATIENCE_S,
) -> list[Finding]:
    """Everything the checks found, those that take too long as far as they got."""
    told: dict[str, list[Finding]] = {name: [] for name in checks}
    threads = {
        # Daemons, since one that hangs in the kernel must not keep this program from ending.
        name: threading.Thread(target=_run, args=(check, site, told[name], group), daemon=True)
        for name, (group, check) in checks.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + patience_s
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            late = Group(checks[name][0]).warn(
                name, f"not finished within {patience_s:g} s", "try again when less goes on here"
            )
            told[name] = [*told[name], late]
    return [finding for found in told.values() for finding in found]


def _run(check: Check, site: Site, into: list[Finding], group: str) -> None:
    """A check that fails in a way nobody thought of is a finding too, and hides no other."""
    try:
        for finding in check(site):
            into.append(finding)
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {error}"
        into.append(
            Group(group).warn("doctor", f"could not look: {reason}", "report this as an error")
        )


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        status = PIPE_CLOSED_EXIT
    # Threads that hang in the kernel would be waited for by the executors they use.
    os._exit(status)
