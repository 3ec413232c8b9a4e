"""Container health check: has a service's work loop turned lately?

`python -m services.core.liveness SERVICE [--max-age-s 5]` ends with status 0 or 1 and says why.
Standard library only, because it runs every few seconds.
"""

from __future__ import annotations

import argparse
import os
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


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="liveness", description="Is a service's loop turning?")
    parser.add_argument("service")
    parser.add_argument("--max-age-s", type=float, default=DEFAULT_MAX_AGE_S, metavar="SECONDS")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("HEARTBEAT_DIR", "").strip() or DEFAULT_DIR)
    alive, reason = check(folder, options.service, options.max_age_s)
    print(reason)
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
