"""Container health check: has a service's work loop turned lately?

`python -m services.core.liveness SERVICE [--max-age-s 5] [--end-after-s 90] [--ready]` ends with
status 0 or 1 and says why. Docker does not restart what is unhealthy, only what has ended: with the
second option a service that stands still for so long is killed. With the third a service is not
well before it has said that it is ready, for an update that ends others once this one is well.
Standard library only, because it runs every few seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

DEFAULT_DIR = "/tmp/squeezeflow"
DEFAULT_MAX_AGE_S = 5.0


def check(folder: Path, service: str, max_age_s: float) -> tuple[bool, str]:
    """Whether the service is alive, and the reason."""
    path = folder / f"{service}.alive"
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False, f"{service} has not turned yet: {path} does not exist"
    except OSError as error:
        return False, f"{path}: {error.strerror}"
    if age_s > max_age_s:
        return False, f"{service} turned last {age_s:.1f} s ago, allowed are {max_age_s:g} s"
    return True, f"{service} turned {max(age_s, 0.0):.1f} s ago"


def is_ready(folder: Path, service: str) -> bool:
    """Whether the service has said since its start that it could do its work."""
    return (folder / f"{service}.ready").exists()


def identity(pid: int | str = "self") -> str:
    """`PID START` of a process, which no other has until the next boot; empty if it is not there.

    START: clock ticks since boot, as proc_pid_stat(5) counts them.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name, in brackets, may hold anything.
    before, _, after = text.rpartition(")")
    return f"{before.split()[0]} {after.split()[19]}"


def end_frozen(folder: Path, service: str, after_s: float) -> str:
    """Kill the service if its file has not been touched for `after_s`; what was done, or nothing.

    A note beside the file keeps since when, by a clock that nobody sets. Only the process that
    touched the file is killed, never one that may still be starting.
    """
    path, note = folder / f"{service}.alive", folder / f"{service}.still"
    try:
        touched, owner = str(path.stat().st_mtime_ns), path.read_text(encoding="ascii")
        known = note.read_text(encoding="ascii").split() if note.exists() else []
        if len(known) != 2 or known[0] != touched:
            note.write_text(f"{touched} {time.monotonic()}", encoding="ascii")
            return ""
        still_s = time.monotonic() - float(known[1])
        pid = owner.partition(" ")[0]
        if still_s < after_s or not owner or identity(pid) != owner:
            return ""
        os.kill(int(pid), signal.SIGKILL)
    except (OSError, ValueError) as error:
        return f"{service} cannot be ended: {error}"
    return f"{service} stood still for {still_s:.0f} s and was ended"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="liveness", description="Is a service's loop turning?")
    parser.add_argument("service")
    parser.add_argument("--max-age-s", type=float, default=DEFAULT_MAX_AGE_S, metavar="SECONDS")
    parser.add_argument("--end-after-s", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--ready", action="store_true")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("HEARTBEAT_DIR", "").strip() or DEFAULT_DIR)
    alive, reason = check(folder, options.service, options.max_age_s)
    print(reason)
    if options.end_after_s and not alive:
        print(end_frozen(folder, options.service, max(options.end_after_s, 3 * _turn_s())))
    if alive and options.ready and not is_ready(folder, options.service):
        print(f"{options.service} is not ready yet")
        return 1
    return 0 if alive else 1


def _turn_s() -> float:
    """How long the slowest loop there is may take by its setting."""
    try:
        return float(os.environ.get("SQUEEZEFLOW_RUN_INTERVAL", "").strip() or 1)
    except ValueError:
        return 1.0


if __name__ == "__main__":
    sys.exit(main())
