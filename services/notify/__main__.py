"""`python -m services.notify`: send one message of each kind through every channel."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from aggr_server.env import SettingsError
from services.notify import trial


def main(environ: Mapping[str, str]) -> int:
    """Entry point; answers the exit status."""
    try:
        return trial.run(environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
