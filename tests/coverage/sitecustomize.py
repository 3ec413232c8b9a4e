"""Measures the processes of freqtrade's environment too, in which coverage is not installed.

`COVERAGE_LIBRARY`: the folder it is installed in.
"""

import os
import sys
from importlib.util import find_spec

library = os.environ.get("COVERAGE_LIBRARY")
if library and "COVERAGE_PROCESS_CONFIG" in os.environ and find_spec("coverage") is None:
    sys.path.append(library)
    import coverage

    sys.path.remove(library)
    coverage.process_startup()
