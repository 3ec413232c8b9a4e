"""Runs a program and starts it anew when a source changes: `reload.py FOLDER... -- PROGRAM...`

For development. Standard library only, because it runs inside the images.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

LOOK_S = 1.0
STOP_WAIT_S = 15.0

Look = tuple[int, int]


def look(folders: Iterable[Path]) -> Look:
    """How many sources there are, and the sum of the times of their last changes; a change of
    either is a change."""
    times = []
    for folder in folders:
        for path in folder.rglob("*.py"):
            try:
                times.append(path.stat().st_mtime_ns)
            except FileNotFoundError:
                continue  # being replaced
    return len(times), sum(times)


def settled(folders: Sequence[Path], before: Look) -> Look:
    """What there is once it differs from `before` and no more changes come."""
    while True:
        time.sleep(LOOK_S)
        now = look(folders)
        if now != before:
            break
    while True:
        time.sleep(LOOK_S)
        later = look(folders)
        if later == now:
            return now
        now = later


def stop(process: subprocess.Popen[bytes]) -> int:
    """End the program; its status."""
    process.terminate()
    try:
        return process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def run(folders: Sequence[Path], command: Sequence[str]) -> int:
    """Until this process is told to end. A program that ends by itself is started by the next
    change, as that is what will mend it."""
    seen = look(folders)
    while True:
        process = subprocess.Popen(command)
        try:
            seen = settled(folders, seen)
        except KeyboardInterrupt:
            return stop(process)
        print("reload: a source has changed; starting anew", flush=True)
        stop(process)


def main(arguments: list[str]) -> int:
    """Entry point; answers the exit status."""
    if "--" not in arguments or not (command := arguments[arguments.index("--") + 1 :]):
        print(__doc__, file=sys.stderr)
        return 2
    folders = [Path(name) for name in arguments[: arguments.index("--")]]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        print(f"reload: there is no folder {', '.join(missing)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(folders, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
