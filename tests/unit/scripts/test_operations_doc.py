"""What docs/operations.md and the changelog name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.doctor.values import documented
from scripts.stack import retired

ROOT = Path(__file__).resolve().parents[3]
FILES = (ROOT / "docs" / "operations.md", ROOT / "CHANGELOG.md")


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    assert links
    for link in links:
        target, _, anchor = link.partition("#")
        if not target.startswith("http"):
            file = path.parent / target if target else path
            assert file.exists(), link
            assert not anchor or anchor in _anchors(file), link


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_is_known(path: Path) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)\b", path.read_text()))
    # Compose reads this one itself.
    assert named - documented(ROOT) - retired.RETIRED.keys() - {"COMPOSE_FILE"} == set()
