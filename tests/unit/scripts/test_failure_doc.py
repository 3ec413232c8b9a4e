"""Every test that docs/failure.md rests on is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_proof_is_a_test_of_this_project() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "failure.md").read_text()))
    assert len(named) > 40
    written: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        written.update(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    assert sorted(named - written) == []


def test_every_row_has_its_proof() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "failure.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| what happens")
    ]
    assert rows
    assert [row for row in rows if "`test_" not in row.rsplit("|", 2)[1]] == []
