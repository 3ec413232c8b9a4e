"""What must pass before a change goes in holds itself to what it promises."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from tests.integration.servers import ROOT

LONGEST_S = 180
MONEY = {
    "freqtrade/user_data/strategies/SqueezeFlowExecutor.py",
    "freqtrade/user_data/strategies/squeezeflow/desk.py",
    "services/strategy/engine.py",
    "services/market/aggregate.py",
    "aggr-server/aggr_server/bars.py",
    "aggr-server/aggr_server/sums.py",
    "aggr-server/aggr_server/spool.py",
    "aggr-server/aggr_server/segments.py",
}
"""Executor, method, CVD, bars and spool: some file of each."""


def settings() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return found


def script() -> str:
    return (ROOT / "scripts" / "test.sh").read_text()


def test_i6_ci_runs_the_command_of_the_readme_and_no_test_of_it_may_take_long() -> None:
    last = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert last == "exec ./scripts/test.sh"
    assert "\n./scripts/test.sh " in (ROOT / "README.md").read_text()
    assert settings()["pytest"]["ini_options"]["timeout"] <= LONGEST_S
    gate = [line for line in script().splitlines() if '-m "' in line and "stage" in line]
    assert gate
    assert all("not slow" in line for line in gate)


def test_i7_of_all_branches_95_percent_are_gone_through_and_of_those_of_money_each() -> None:
    assert settings()["coverage"]["run"]["branch"] is True
    assert settings()["coverage"]["report"]["fail_under"] >= 95
    assert "--fail-under=100" in script()
    listed = re.search(r"money=\(\n(.*?)\n    \)", script(), re.S)
    assert listed
    patterns = [p.strip("'") for p in listed[1].split()]
    paths = [one for p in patterns for one in _expanded(p)]
    for name in MONEY:
        assert (ROOT / name).exists()
        assert any(name.startswith(p.rstrip("*")) for p in paths), name


def _expanded(pattern: str) -> list[str]:
    """Braces as the shell takes them."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
    return [found[1] + one + found[3] for one in found[2].split(",")] if found else [pattern]
