"""Spares Python's cyclic garbage collector what stays."""

from __future__ import annotations

import gc
from collections.abc import Iterable


class Settled:
    """What is loaded lives long; to look through it again and again takes long.

    Whatever is put beyond the collector's reach must be looked through once more before that is
    repeated: what a symbol had before it was loaded anew would otherwise stay for good.
    """

    def __init__(self) -> None:
        self._kept: set[int] = set()

    def look(self, loaded: Iterable[object]) -> None:
        """Call now and then with what is loaded."""
        found = {id(one) for one in loaded}
        if found - self._kept:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        self._kept = found
