"""Which of several collectors takes which markets."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec


class Shard(msgspec.Struct, frozen=True):
    """The `index`-th of `count` parts of all markets; the first is 1."""

    index: int = 1
    count: int = 1

    def holds(self, market: str) -> bool:
        """Whether `market`, EXCHANGE:symbol, is in this part; it is in exactly one of `count`."""
        digest = blake2b(market.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    def named(self, name: str) -> str:
        """`name` for this part: the first keeps it, the others have their number added."""
        return name if self.index == 1 else f"{name}-{self.index}"

    def folder(self, base: Path) -> Path:
        """Where this part keeps its files under the folder of all."""
        return base if self.index == 1 else base / f"shard-{self.index}"


def parse(text: str) -> Shard:
    """`I/N` as a shard. Raises `ValueError`."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ValueError(f"{text!r} is no shard: write I/N with I from 1 to N")
    return Shard(int(index), int(count))
