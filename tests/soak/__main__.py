"""`python -m tests.soak --hours 24`: a soak by hand."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from scripts.stack.running import StackError
from tests.soak.run import Options, run


def main() -> int:
    """Run, print the table at the end; 1 if anything grew or was wrong."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--load", type=float, default=3.0, help="multiples of the demo's trades")
    parser.add_argument("--trouble-every", type=float, default=10.0, metavar="MINUTES")
    parser.add_argument("--warm-up", type=float, default=20.0, metavar="MINUTES")
    parser.add_argument("--seed", type=int, default=1, help="of the troubles")
    parser.add_argument("--folder", type=Path, help="a short path; kept, with data and logs")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(
        chosen.hours, chosen.load, chosen.trouble_every * 60, chosen.warm_up * 60, chosen.seed
    )
    try:
        verdict = run(options, folder, _say)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    print(verdict.text)
    print(f"samples, data and logs: {folder}", file=sys.stderr)
    return 1 if verdict.problems else 0


def _say(text: str) -> None:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    print(f"{now} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
