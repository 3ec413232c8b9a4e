"""Writes docs/settings.md from `.env.example` and the settings classes.

./scripts/settings_doc.sh [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, get_type_hints

import msgspec

from aggr_server.env import is_secret
from scripts.stack.settings import settings_classes

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "settings.md"
READERS = {
    "CollectorSettings": ("aggr-server",),
    "StrategySettings": ("strategy-runner",),
    "InfluxSchemaSettings": ("influx-init",),
    "ExecutorSettings": ("freqtrade",),
    "OpenInterestSettings": ("oi-tracker",),
    "HealthMonitorSettings": ("health-monitor",),
    "SystemMonitorSettings": ("system-monitor",),
    "BackupSettings": ("backup",),
    "SimulatorSettings": ("simulator",),
    "StackSettings": ("scripts",),
}
"""Class -> who reads all of it; the others are bases of these."""
EVERYBODY = 4
_SECTION = re.compile(r"^# ---- (.+?) -+$")
_SETTING = re.compile(r"^#([A-Z][A-Z0-9_]*)=(.*)$")
MAKE = "./scripts/settings_doc.sh"
HEAD = f"""# Settings

Made by `{MAKE}` from `.env.example` and the settings classes; do not edit it.
Copy `.env.example` to `.env` and change what you want changed; a variable of the shell wins over
`.env`. Secrets are better left to the files in `secrets/`; each may also be named as a file by the
setting of the same name with `_FILE` behind it.
"""


class Block(NamedTuple):
    """Settings that `.env.example` explains together, as (name, default)."""

    section: str
    text: str
    settings: list[tuple[str, str]]


def blocks(example: str) -> list[Block]:
    """Every explained block of `.env.example`, in its order."""
    found: list[Block] = []
    section = ""
    for paragraph in example.split("\n\n"):
        words: list[str] = []
        settings: list[tuple[str, str]] = []
        for line in paragraph.splitlines():
            if match := _SECTION.match(line):
                section = match[1]
            elif match := _SETTING.match(line):
                settings.append((match[1], match[2]))
            else:
                words.append(line.removeprefix("#").strip())
        if settings:
            found.append(Block(section, " ".join(words), settings))
    return found


def readers() -> dict[str, list[str]]:
    """Setting -> who reads it; those of the Compose files alone are missing."""
    found: dict[str, list[str]] = {}
    for cls in settings_classes():
        for field in msgspec.structs.fields(cls):
            found.setdefault(field.name.upper(), []).extend(READERS.get(cls.__name__, ()))
    return found


def secrets() -> set[str]:
    """Settings that may be given as a file."""
    return {
        name.upper()
        for cls in settings_classes()
        for name, hint in get_type_hints(cls, include_extras=True).items()
        if is_secret(hint)
    }


def document(example: str) -> str:
    """The whole of docs/settings.md."""
    who, secret = readers(), secrets()
    lines = [HEAD]
    for section, found in groupby(blocks(example), lambda block: block.section):
        lines += [f"## {section}", "", "| setting | default | meaning | read by |"]
        lines += ["|---|---|---|---|"]
        for block in found:
            for name, default in block.settings:
                shown = f"`{default}`" if default else "empty"
                text = block.text.replace("|", "\\|") + (" Secret." if name in secret else "")
                lines.append(f"| `{name}` | {shown} | {text} | {_read_by(who.get(name))} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _read_by(found: list[str] | None) -> str:
    if found is None:
        return "Compose files"
    return "all services" if len(found) > EVERYBODY else ", ".join(sorted(set(found)))


def main() -> int:
    """Write the document, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    chosen = parser.parse_args()
    text = document((ROOT / ".env.example").read_text(encoding="utf-8"))
    if not chosen.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"docs/settings.md is out of date: run {MAKE}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
