"""The settings: known names, and values that every service accepts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from scripts.doctor.findings import Finding, Group
from scripts.doctor.site import INSTALL, Site
from scripts.stack import retired
from scripts.stack.running import StackError

PREFIXES = ("FREQTRADE__", "COMPOSE_", "DOCKER_", "BUILDKIT_")
"""Of variables that others understand: freqtrade, Compose, Docker."""
_DOCUMENTED = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.MULTILINE)

_group = Group("Settings")


def check(site: Site) -> Iterator[Finding]:
    """Names need Python alone, values the project's packages."""
    for line in retired.lines(site.written):
        told, _, remedy = line.partition(". Instead: ")
        yield _group.warn("retired", told, f"use {remedy.rstrip('.')}, and delete the line")
    known = documented(site.root)
    unknown = [n for n in site.written if _is_unknown(n, known)]
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}? " if near else ""
        yield _group.warn(
            "unknown", f"{name} in .env is no setting", f"{meant}.env.example lists all"
        )
    if not unknown:
        yield _group.ok("names", f"{len(site.written)} in .env, all known")
    if site.packages:
        yield from _values(site)
    else:
        yield _group.note(
            "values", "not checked: the project's Python packages are missing", INSTALL
        )


def documented(root: Path) -> set[str]:
    """Names of all settings, by `.env.example`; secrets also as files."""
    try:
        names = set(_DOCUMENTED.findall((root / ".env.example").read_text(encoding="utf-8")))
    except OSError:
        return set()
    return names | {f"{name}_FILE" for name in names}


def _is_unknown(name: str, known: set[str]) -> bool:
    return bool(known) and not (
        name in known or name in retired.RETIRED or name.startswith(PREFIXES) or not name.isupper()
    )


def _values(site: Site) -> Iterator[Finding]:
    from scripts.stack.settings import validate

    try:
        validate(site.environ)
    except StackError as error:
        for line in str(error).splitlines():
            found, _, remedy = line.partition(": ")
            yield _group.fail("value", found, remedy)
    else:
        yield _group.ok("values", "all right")
