"""`.env.example` says what the settings classes and the Compose files say, and nothing is dead."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from scripts.stack.settings import settings_classes

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("aggr-server/aggr_server", "services", "scripts", "freqtrade")


def _documented() -> dict[str, str]:
    text = (ROOT / ".env.example").read_text()
    return dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def _text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)


def _fields() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cls in settings_classes():
        for field in msgspec.structs.fields(cls):
            found.setdefault(field.name, set()).add(_text(field.default))
    return found


def _compose_defaults() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in ROOT.glob("docker-compose*.yml"):
        found.update(re.findall(r"\$\{([A-Z][A-Z0-9_]*):?-([^}]*)\}", path.read_text()))
    return found


def test_a_setting_has_one_default_everywhere() -> None:
    assert {name: defaults for name, defaults in _fields().items() if len(defaults) > 1} == {}


def test_every_setting_is_documented_with_its_default() -> None:
    expected = {name.upper(): defaults.pop() for name, defaults in _fields().items()}
    documented = _documented()
    assert {name: documented.get(name) for name in expected} == expected


def test_every_variable_of_the_compose_files_is_documented_with_its_default() -> None:
    expected, documented = _compose_defaults(), _documented()
    assert expected
    assert {name: documented.get(name) for name in expected} == expected


def test_nothing_else_is_documented() -> None:
    known = {name.upper() for name in _fields()} | _compose_defaults().keys()
    assert _documented().keys() - known == set()


def test_every_documented_setting_has_an_explanation() -> None:
    blocks = (ROOT / ".env.example").read_text().split("\n\n")
    for block in blocks:
        if re.search(r"^#[A-Z][A-Z0-9_]*=", block, re.MULTILINE):
            assert block.startswith("# "), block


def test_the_file_changes_nothing_when_copied() -> None:
    for line in (ROOT / ".env.example").read_text().splitlines():
        assert not line or line.startswith("#")


def test_no_setting_is_dead() -> None:
    sources = "\n".join(
        path.read_text()
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "settings.py"
    )
    dead = [name for name in _fields() if not re.search(rf"\.{name}\b|\"{name}\"", sources)]
    assert dead == []
