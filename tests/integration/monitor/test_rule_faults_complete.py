"""No rule without a test that raises and clears it by a fault."""

from __future__ import annotations

import importlib
from pathlib import Path

from services.monitor import rules
from tests.integration.monitor.faults import COVERED


def test_every_rule_is_raised_and_cleared_by_a_fault_in_a_test() -> None:
    for path in Path(__file__).parent.glob("test_rule_faults_*.py"):
        importlib.import_module(f"tests.integration.monitor.{path.stem}")
    assert rules.load().keys() - COVERED.keys() == set()
    assert COVERED.keys() - rules.load().keys() == set()
