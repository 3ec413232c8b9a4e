#!/usr/bin/env python3
"""Send one message of each kind and severity to everybody in NOTIFY_URLS, and list the answers.

Ends with status 0 if everything was sent, else with 1. Knows the running stack's settings, else
takes them from the environment, `.env` and `secrets/`. In a container, where the settings are:
docker compose exec system-monitor python -m services.notify
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; answers the exit status."""
    parser = argparse.ArgumentParser(prog="notify_test.py", description=__doc__)
    parser.add_argument(
        "--environment", action="store_true", help="take the settings from the environment alone"
    )
    options = parser.parse_args(arguments)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from scripts.health_check import own_python, settings_of_the_stack

    own_python(Path(__file__))
    from scripts.stack.running import StackError
    from services.notify.__main__ import main as try_out

    try:
        return try_out(os.environ if options.environment else settings_of_the_stack())
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
