"""What the doctor says: one finding a line, in groups, each wrong one with its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "note", "warn", "fail"]

RANK: dict[State, int] = {"ok": 0, "note": 0, "warn": 1, "fail": 2}
"""How grave a state is, which is also the exit status of the worst finding."""

_COLOURS: dict[State, str] = {"ok": "32", "note": "36", "warn": "33", "fail": "31"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    `state`: ok; note (not wrong, or not known); warn (works, but will hurt); fail (will not work).
    `found`: what was measured. `remedy`: what to do, for warn and fail.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Makes findings of one group."""

    name: str

    def ok(self, name: str, found: str) -> Finding:
        """As it should be."""
        return Finding(self.name, name, "ok", found)

    def note(self, name: str, found: str, remedy: str = "") -> Finding:
        """Not wrong, but to be known; or not known."""
        return Finding(self.name, name, "note", found, remedy)

    def warn(self, name: str, found: str, remedy: str) -> Finding:
        """Works, but not well, or not for ever."""
        return Finding(self.name, name, "warn", found, remedy)

    def fail(self, name: str, found: str, remedy: str) -> Finding:
        """Does not work."""
        return Finding(self.name, name, "fail", found, remedy)


def exit_status(findings: Iterable[Finding]) -> int:
    """0: nothing is wrong, 1: warnings only, 2: something fails."""
    return max((RANK[finding.state] for finding in findings), default=0)


def text(findings: Sequence[Finding], *, colours: bool) -> str:
    """All findings by group, in the order given, and the sum of them."""
    groups = list(dict.fromkeys(finding.group for finding in findings))
    width = max((len(finding.name) for finding in findings), default=0)
    lines: list[str] = []
    for group in groups:
        lines.append(group)
        for finding in findings:
            if finding.group == group:
                lines += _lines(finding, width, colours)
        lines.append("")
    return "\n".join([*lines, _sum(findings)])


def document(findings: Sequence[Finding], seconds: float) -> str:
    """The same as one JSON object."""
    return json.dumps(
        {
            "status": ("ok", "warn", "fail")[exit_status(findings)],
            "seconds": round(seconds, 1),
            "findings": [asdict(finding) for finding in findings],
        }
    )


def _lines(finding: Finding, width: int, colours: bool) -> Iterator[str]:
    state = f"{finding.state:<4}"
    if colours:
        state = f"\033[{_COLOURS[finding.state]}m{state}\033[0m"
    first, *more = finding.found.splitlines() or [""]
    yield f"  {state}  {finding.name:<{width}}  {first}"
    indent = " " * (width + 10)
    for line in more:
        yield f"{indent}{line}"
    if finding.remedy:
        yield f"{indent}remedy: {finding.remedy}"


def _sum(findings: Sequence[Finding]) -> str:
    failing = [finding for finding in findings if finding.state == "fail"]
    warned = sum(finding.state == "warn" for finding in findings)
    warnings = f"{warned} {'warning' if warned == 1 else 'warnings'}"
    if failing:
        first = failing[0]
        return (
            f"{len(failing)} {'fails' if len(failing) == 1 else 'fail'}, {warnings}. "
            f"Begin with: {first.group.lower()}, {first.name}."
        )
    return f"Nothing fails, {warnings}." if warned else "Nothing is wrong."
