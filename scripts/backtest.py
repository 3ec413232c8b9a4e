#!/usr/bin/env python3
"""Run the strategy over recorded markets; `--help` tells how."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from scripts.health_check import own_python, settings_of_the_stack

    own_python(Path(__file__))
    from services.backtest import command

    given = sys.argv[1:] if arguments is None else arguments
    alone = "--environment" in given
    return command.main(given, os.environ if alone else settings_of_the_stack())


if __name__ == "__main__":
    sys.exit(main())
