"""Typed, frozen settings read from environment variables.

A settings class is a frozen `msgspec.Struct`; each field `influx_port` is read from `INFLUX_PORT`.
Fields typed `Secret` may be given as `INFLUX_PASSWORD` or as the path of a file in
`INFLUX_PASSWORD_FILE`. An empty variable counts as unset, because Compose passes unset ones empty.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

SECRET_MARK = {"secret": True}
Secret = Annotated[str, msgspec.Meta(extra=SECRET_MARK)]

S = TypeVar("S", bound=msgspec.Struct)


class SettingsError(ValueError):
    """One or more environment variables cannot be used; the text has one line for each."""


def load(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Build `cls` from `environ` (the process environment if left out).

    Raises `SettingsError` naming every bad variable, its value unless secret, and the remedy.
    """
    environ = os.environ if environ is None else environ
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(cls):
        name, hint = field.name.upper(), hints[field.name]
        try:
            text = _read(name, hint, environ)
            if text is not None:
                values[field.name] = _convert(text, hint)
            elif field.required:
                problems.append(f"{name} is not set: {describe(hint)}. Set it in .env.")
        except (msgspec.ValidationError, ValueError, OSError) as error:
            shown = "(hidden)" if is_secret(hint) else repr(environ.get(name, ""))
            problems.append(f"{name}={shown}: {error}. {describe(hint)}. Correct it in .env.")
    if problems:
        raise SettingsError("\n".join(problems))
    return cls(**values)


def is_secret(hint: Any) -> bool:
    """Whether a field's annotation marks it as a secret."""
    return any(isinstance(m, msgspec.Meta) and m.extra == SECRET_MARK for m in get_args(hint)[1:])


def describe(hint: Any) -> str:
    """The description in a field's annotation, or an empty string."""
    texts = [m.description for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta)]
    return next((text for text in texts if text), "")


def _read(name: str, hint: Any, environ: Mapping[str, str]) -> str | None:
    if text := environ.get(name, "").strip():
        return text
    if is_secret(hint) and (path := environ.get(f"{name}_FILE", "").strip()):
        return Path(path).read_text(encoding="utf-8").strip()
    return None


def _convert(text: str, hint: Any) -> Any:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return msgspec.convert(text, hint, strict=False)
