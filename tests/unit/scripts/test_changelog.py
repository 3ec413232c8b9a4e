"""The changelog, the version and where it stands belong together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from scripts.stack import retired

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "CHANGELOG.md").read_text()
RELEASES = re.findall(
    r"^## \[(\d+\.\d+\.\d+)\] - (Unreleased|\d{4}-\d\d-\d\d)$", TEXT, re.MULTILINE
)
KINDS = {"To do", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_newest_release_is_the_projects_version_wherever_it_stands() -> None:
    version = RELEASES[0][0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == version
    assert f"#SQUEEZEFLOW_VERSION={version}" in (ROOT / ".env.example").read_text()
    for path in ROOT.glob("docker-compose*.yml"):
        found = re.findall(r"SQUEEZEFLOW_VERSION:-([^}]*)\}", path.read_text())
        assert set(found) <= {version}, path.name


def test_every_section_is_of_the_format() -> None:
    assert len(RELEASES) == len(re.findall(r"^## ", TEXT, re.MULTILINE))
    assert set(re.findall(r"^### (.*)$", TEXT, re.MULTILINE)) <= KINDS
    assert [release for release in RELEASES[1:] if release[1] == "Unreleased"] == []


def test_every_setting_that_has_retired_is_told() -> None:
    assert [name for name in retired.RETIRED if name not in TEXT] == []
