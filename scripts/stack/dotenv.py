"""Reads `.env`: lines of KEY=VALUE, the part of the format that Compose reads the same way."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.stack.running import StackError

_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_COMMENT = re.compile(r"\s#.*$")


def read(path: Path) -> dict[str, str]:
    """Settings in `path`; empty if there is no such file.

    Blank lines and lines that begin with `#` are skipped, so is ` # text` after a bare value. A
    value may stand in single or double quotes. Raises `StackError` naming each line that is wrong.
    """
    if not path.exists():
        return {}
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            key, value = _parse(text)
        except ValueError as error:
            problems.append(f"{path.name} line {number}: {error}: {_shown(text)}")
            continue
        values[key] = value
    if problems:
        raise StackError("\n".join(problems))
    return values


def _parse(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    key, value = key.removeprefix("export "), value.strip()
    if not separator:
        raise ValueError("expected KEY=VALUE")
    if not _KEY.match(key):
        raise ValueError("a name has letters, digits and _ only, and no space before the =")
    if value[:1] in ('"', "'"):
        end = value.find(value[0], 1)
        if end < 0:
            raise ValueError("the quotation mark is not closed")
        if (rest := value[end + 1 :].strip()) and not rest.startswith("#"):
            raise ValueError("text follows the closing quotation mark")
        return key, value[1:end]
    return key, _COMMENT.sub("", value) if not value.startswith("#") else ""


def _shown(text: str) -> str:
    """The line without what may be a secret: its value."""
    key, separator, _ = text.partition("=")
    return f"{key.strip()}=..." if separator else "(no = in the line)"
