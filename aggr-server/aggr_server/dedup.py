"""Which trades were counted already."""

from __future__ import annotations


class RecentIds:
    """Remembers at least the last `size` ids and at most twice as many."""

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int = 2048) -> None:
        self._size = size
        self._new: set[int | str] = set()
        self._old: set[int | str] = set()

    def add(self, id: int | str) -> bool:
        """Remember an id; False if it is known."""
        if id in self._new or id in self._old:
            return False
        self._new.add(id)
        if len(self._new) >= self._size:
            self._old = self._new
            self._new = set()
        return True
