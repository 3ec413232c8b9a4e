"""`python -m tests.exactness --seed 1 --minutes 30 --speed 10`: a run by hand."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.exactness.run import Options, run
from tests.exactness.venues import TWELVE


def main() -> int:
    """Run, print the report as JSON at the end; 1 if the bars were not exact."""
    parser = argparse.ArgumentParser(prog="tests.exactness", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0, help="of simulated time")
    parser.add_argument("--speed", type=float, default=10.0, help="simulated seconds per second")
    parser.add_argument("--venues", default=",".join(TWELVE), help="comma-separated")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--folder", type=Path, help="where data and logs go; kept afterwards")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="exactness-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(
        arguments.seed,
        arguments.minutes,
        arguments.speed,
        tuple(arguments.venues.split(",")),
        not arguments.no_faults,
    )
    verdict = run(options, folder, lambda line: print(line, file=sys.stderr, flush=True))
    print(verdict.text)
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
