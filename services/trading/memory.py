"""Spares Python's cyclic garbage collector what stays."""

from __future__ import annotations

import gc
from collections.abc import Mapping


class Settled:
    """What is loaded lives long; to look through it again and again takes long.

    Whatever is put beyond the collector's reach must be looked through once more when something
    else has taken its place: it would otherwise stay for good. That takes a quarter of a second
    with 100 symbols, so it waits until no more is replaced.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._replaced = False

    def look(self, loaded: Mapping[str, object]) -> None:
        """Call now and then with what is loaded, by name."""
        found = {name: id(one) for name, one in loaded.items()}
        replaced = any(self._seen.get(name, new) != new for name, new in found.items())
        if self._replaced and not replaced:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif found.keys() - self._seen.keys() and not replaced:
            gc.freeze()
        self._seen |= found
        self._replaced = replaced
