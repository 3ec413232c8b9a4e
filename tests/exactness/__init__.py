"""Whole runs of the real processes against the ledger, while everything goes wrong."""

import sys
from pathlib import Path

# By hand, `python -m tests.exactness` comes without the search path that pytest sets.
_COLLECTOR = str(Path(__file__).resolve().parents[2] / "aggr-server")
if _COLLECTOR not in sys.path:
    sys.path.append(_COLLECTOR)
