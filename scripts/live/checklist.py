"""The result of the checks, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec


class Item(msgspec.Struct, frozen=True):
    """One point of the list. `found`: what was seen; `remedy`: what to do unless it is `OK`."""

    name: str
    state: Literal["OK", "WARN", "FAIL"]
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Item:
    """As it should be."""
    return Item(name, "OK", found)


def warn(name: str, found: str, remedy: str) -> Item:
    """Possible, but not advisable."""
    return Item(name, "WARN", found, remedy)


def fail(name: str, found: str, remedy: str) -> Item:
    """Real money must not be traded like this."""
    return Item(name, "FAIL", found, remedy)


def passed(items: Sequence[Item]) -> bool:
    """Whether no point failed."""
    return not any(item.state == "FAIL" for item in items)


def text(items: Sequence[Item]) -> str:
    """A line for each point, its remedy below, the result at the end."""
    lines = []
    for item in items:
        lines.append(f"{item.state:4}  {item.name}: {item.found}")
        if item.remedy:
            lines.append(f"      remedy: {item.remedy}")
    failed = sum(item.state == "FAIL" for item in items)
    warned = sum(item.state == "WARN" for item in items)
    if failed:
        lines.append(f"Not ready for real money: {failed} of {len(items)} failed.")
    elif warned:
        lines.append(f"Ready for real money, with {warned} warnings.")
    else:
        lines.append("Ready for real money.")
    return "\n".join(lines)
