"""The whole demo for hours, under load and faults: does anything grow, is anything wrong?"""

import sys
from pathlib import Path

# By hand, `python -m tests.soak` comes without the search path that pytest sets.
_COLLECTOR = str(Path(__file__).resolve().parents[2] / "aggr-server")
if _COLLECTOR not in sys.path:
    sys.path.append(_COLLECTOR)
