#!/usr/bin/env python3
"""Stop all entries at once, or allow them again; `--help` tells how.

Knows the running stack's settings, else takes them from the environment, `.env` and `secrets/`.
"""

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
    from scripts.stack.running import StackError
    from services import kill_switch

    parser = kill_switch.parser()
    parser.add_argument(
        "--environment", action="store_true", help="take the settings from the environment alone"
    )
    options = parser.parse_args(arguments)
    try:
        environ = os.environ if options.environment else settings_of_the_stack()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return kill_switch.main(options, environ)


if __name__ == "__main__":
    sys.exit(main())
