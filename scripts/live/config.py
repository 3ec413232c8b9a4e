"""freqtrade's configuration as freqtrade will see it: its file, and the variables over it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "FREQTRADE__"
_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")

Config = dict[str, Any]


class BadConfig(ValueError):
    """The file cannot be used; the text names it and the remedy."""


def read(path: Path, environ: Mapping[str, str]) -> Config:
    """The file at `path` with what `environ` sets over it. Raises `BadConfig`."""
    try:
        document = json.loads(plain(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path}: {error}. Correct it, or set FREQTRADE_CONFIG.") from None
    if not isinstance(document, dict):
        raise BadConfig(f"{path}: the file must hold one JSON object. Correct it.")
    return overridden(document, environ)


def plain(text: str) -> str:
    """JSON without the comments and commas at the end that freqtrade allows."""
    for pattern in (_COMMENT, _LAST_COMMA):
        text = pattern.sub(lambda found: found.group(1) or "", text)
    return text


def overridden(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with `FREQTRADE__SECTION__KEY` taken over, typed by the look of the value.

    As freqtrade does it: names in lower case, but for the last part below a `ccxt_config`. An empty
    variable counts as unset.
    """
    result: Config = json.loads(json.dumps(config))
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name].strip():
            continue
        *sections, last = name.removeprefix(PREFIX).split("__")
        sections = [section.lower() for section in sections]
        keeps_case = any(re.fullmatch("ccxt_(sync_|async_)?config", s) for s in sections)
        inner = result
        for section in sections:
            known = inner.get(section)
            inner[section] = inner = dict(known) if isinstance(known, dict) else {}
        inner[last if keeps_case else last.lower()] = _typed(environ[name].strip())
    return result


def _typed(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    if text.lower() in ("t", "true", "f", "false"):
        return text.lower().startswith("t")
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, list) else text
