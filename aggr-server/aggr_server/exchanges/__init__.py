"""The exchanges that can be collected: every `Adapter` found in a module of this folder."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from aggr_server.exchanges.base import Adapter
from aggr_server.exchanges.closed import CLOSED


class UnknownExchange(ValueError):
    """The name belongs to no exchange that can be collected; the text says which ones do."""


@cache
def known() -> dict[str, Adapter]:
    """Every adapter by its name, in alphabetical order."""
    found: dict[str, Adapter] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Adapter)
                and value.__module__ == module.__name__
                and "name" in vars(value)
            ):
                found[value.name] = value()
    return dict(sorted(found.items()))


def get(name: str) -> Adapter:
    """The adapter of that name or alias, in any case. Raises `UnknownExchange`."""
    wanted = name.strip().upper()
    for adapter in known().values():
        if wanted == adapter.name or wanted in adapter.aliases:
            return adapter
    names = ", ".join(known())
    if day := CLOSED.get(wanted):
        raise UnknownExchange(f"{wanted} closed on {day} and has no data any more; known: {names}")
    raise UnknownExchange(f"exchange {name!r} is not known; known: {names}")
