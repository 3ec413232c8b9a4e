"""What the README, the changelog and `docs/` tell their reader to type and to open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")))
TYPED = "sh"
"""Language of a fence whose lines are typed into a shell."""
SHOWN = frozenset({"text", "mermaid"})
"""Languages of fences that are only read."""
PROGRAMS = frozenset(
    {
        "cp", "curl", "df", "docker", "du", "git", "openssl", "python", "python3", "ssh", "sudo",
        "sysctl", "systemctl", "timedatectl", "trivy", "zcat",
    }
)  # fmt: skip
"""What begins a command besides our own scripts."""

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
OPEN = "curl --fail --silent --show-error --output /dev/null "
"""What opening an address of this machine is here."""

_ADDRESS = re.compile(r"<(http://127\.0\.0\.1[^>]*)>")
_SPAN = re.compile(r"`([^`]+)`")
_ASSIGNMENT = re.compile(r"^[A-Z_]+=\S* +(?=\S)")


@dataclass(frozen=True, slots=True)
class Command:
    """A line to be typed. `line`: where it stands in `document`, from 1."""

    text: str
    document: str
    line: int

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block."""

    language: str
    lines: tuple[str, ...]
    document: str
    line: int


def fences(document: str) -> list[Fence]:
    """All fenced blocks of a document, in order."""
    text = _read(document)
    return [
        Fence(found[2], tuple(found[3].splitlines()), document, _line(text, found.start()))
        for found in _FENCE.finditer(text)
    ]


def spans(document: str) -> list[Command]:
    """All code within the text, whether it is a command or not; broken lines are joined."""
    text = _read(document)
    prose = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    return [
        Command(" ".join(found[1].split()), document, _line(prose, found.start()))
        for found in _SPAN.finditer(prose)
    ]


def addresses(document: str) -> list[Command]:
    """Pages on this machine that the reader is to open, each as a command that does so."""
    text = _read(document)
    return [
        Command(f"{OPEN}{found[1]}", document, _line(text, found.start()))
        for found in _ADDRESS.finditer(text)
    ]


def is_command(text: str) -> bool:
    """Whether code within the text begins as a command does."""
    while assignment := _ASSIGNMENT.match(text):
        text = text[assignment.end() :]
    first = text.split()[0]
    ours = first.startswith("./scripts/") or re.match(r"\.local/\w+/bin/", first)
    return bool(ours) or first in PROGRAMS


def commands(document: str) -> list[Command]:
    """Everything a document tells to type or to open, in the order of its lines."""
    typed = [span for span in spans(document) if is_command(span.text)]
    found = [*_of_fences(document), *typed, *addresses(document)]
    return sorted(found, key=lambda command: command.line)


def _of_fences(document: str) -> Iterator[Command]:
    for fence in fences(document):
        if fence.language == TYPED:
            for number, line in enumerate(fence.lines, fence.line + 1):
                if text := re.sub(r"(^|\s+)#\s.*$", "", line).strip():
                    yield Command(text, document, number)


def _read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
