"""What child processes of tests are given."""

from __future__ import annotations

import os

INHERITED = ("PATH", "COVERAGE_PROCESS_CONFIG", "COVERAGE_LIBRARY")


def bare() -> dict[str, str]:
    """An environment without settings: where programs are, and what measures coverage."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
