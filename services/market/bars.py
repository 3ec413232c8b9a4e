"""What the market package hands on: the closed seconds of all markets together."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from aggr_server.wire import Bar

BarsByBase = Mapping[str, Mapping[str, Bar]]
"""base -> market -> bar."""


class Late(NamedTuple):
    """Taker volume that became known after its second had been handed out, quote USD."""

    buy: float
    sell: float


class ClosedBars(NamedTuple):
    """Second `t` as far as it is known when it is handed out.

    `late`: base -> market -> volume of earlier seconds that has to be added to this one. `silent`:
    markets of which nothing is known in this second, because of a recorded gap or a collector that
    did not report. `published_ms`: the collectors' newest publication time, 0 from the database.
    """

    t: int
    bars: BarsByBase
    late: Mapping[str, Mapping[str, Late]] = {}
    silent: Set[str] = frozenset()
    published_ms: int = 0
