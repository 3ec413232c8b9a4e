"""The package's docstring and the list for programs say the same."""

from __future__ import annotations

import re

from services.monitor import measure
from services.monitor.measure.catalog import READINGS, SOURCES


def documented() -> dict[str, str]:
    """Reading -> heading of its source, as the docstring lists them."""
    found: dict[str, str] = {}
    source = ""
    assert measure.__doc__ is not None
    for line in measure.__doc__.splitlines():
        if re.fullmatch(r"[a-z-]+", line):
            source = line
        elif match := re.match(r"  ([a-z_0-9]+) {2,}\S", line):
            found[match[1]] = source
    return found


def test_every_reading_is_explained_under_its_source() -> None:
    assert documented() == {name: kind.source or "all" for name, kind in READINGS.items()}


def test_every_source_is_known() -> None:
    assert {kind.source for kind in READINGS.values()} - {""} == set(SOURCES)
