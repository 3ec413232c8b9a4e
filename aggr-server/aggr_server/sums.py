"""What is known of one market's period, and its compact form while it is only remembered."""

from __future__ import annotations

from struct import Struct, error

from aggr_server.wire import Bar

_FIRST_EVER, _LAST_EVER = -(2**63), 2**63 - 1
_LEAST_SHARE = 1 - 1e-9


class Sums:
    """Sums of one period. Prices mean nothing while `first_ms` is 0 and `close` is 0."""

    __slots__ = (
        "cbuy",
        "close",
        "csell",
        "first_ms",
        "first_order",
        "high",
        "last_ms",
        "last_order",
        "lbuy",
        "low",
        "lsell",
        "open",
        "vbuy",
        "vsell",
    )

    def __init__(self) -> None:
        self.open = self.high = self.low = self.close = 0.0
        self.vbuy = self.vsell = self.lbuy = self.lsell = 0.0
        self.cbuy = self.csell = 0
        self.first_ms = self.first_order = self.last_ms = self.last_order = 0

    def add(self, ts_ms: int, order: int, price: float, notional: float, is_buy: bool) -> None:
        """Count a trade."""
        if is_buy:
            self.vbuy += notional
            self.cbuy += 1
        else:
            self.vsell += notional
            self.csell += 1
        if self.first_ms == 0:
            self.open = self.high = self.low = self.close = price
            self.first_ms = self.last_ms = ts_ms
            self.first_order = self.last_order = order
            return
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if ts_ms > self.last_ms or (ts_ms == self.last_ms and order >= self.last_order):
            self.close = price
            self.last_ms = ts_ms
            self.last_order = order
        elif ts_ms < self.first_ms or (ts_ms == self.first_ms and order < self.first_order):
            self.open = price
            self.first_ms = ts_ms
            self.first_order = order

    def stand_at(self, price: float) -> None:
        """Set the price of a period without trades."""
        self.open = self.high = self.low = self.close = price

    def force(self, forced: tuple[float, float]) -> None:
        """Forced orders amount at least to these sums, bought and sold."""
        self.lbuy = max(self.lbuy, forced[0])
        self.lsell = max(self.lsell, forced[1])

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened in the period."""
        return self.first_ms == 0 and self.lbuy == 0.0 and self.lsell == 0.0

    def covers(self, other: Sums) -> bool:
        """Whether nothing less was traded than in `other`; a venue may merge trades in a list."""
        return self.vbuy + self.vsell >= (other.vbuy + other.vsell) * _LEAST_SHARE

    def bar(self, second: int, market: str) -> Bar:
        """The bar that opens at `second`."""
        return Bar(
            second,
            market,
            self.open,
            self.high,
            self.low,
            self.close,
            self.vbuy,
            self.vsell,
            self.cbuy,
            self.csell,
            self.lbuy,
            self.lsell,
        )


Kept = bytes | Sums
"""A remembered period: packed, unless the venue's order numbers are too long for that."""

_packed = Struct("<8d6q")


def keep(sums: Sums) -> Kept:
    """Pack for the memory: about a third of the size."""
    try:
        return _packed.pack(
            sums.open,
            sums.high,
            sums.low,
            sums.close,
            sums.vbuy,
            sums.vsell,
            sums.lbuy,
            sums.lsell,
            sums.cbuy,
            sums.csell,
            sums.first_ms,
            sums.first_order,
            sums.last_ms,
            sums.last_order,
        )
    except error:
        return sums


def recall(kept: Kept) -> Sums:
    """Inverse of `keep`."""
    if isinstance(kept, Sums):
        return kept
    sums = Sums()
    (
        sums.open,
        sums.high,
        sums.low,
        sums.close,
        sums.vbuy,
        sums.vsell,
        sums.lbuy,
        sums.lsell,
        sums.cbuy,
        sums.csell,
        sums.first_ms,
        sums.first_order,
        sums.last_ms,
        sums.last_order,
    ) = _packed.unpack(kept)
    return sums


def restored(bar: Bar, interval_s: int) -> Kept:
    """What a bar tells of its period; later trades leave its open and close as they are."""
    sums = Sums()
    sums.open, sums.high, sums.low, sums.close = bar.open, bar.high, bar.low, bar.close
    sums.vbuy, sums.vsell, sums.cbuy, sums.csell = bar.vbuy, bar.vsell, bar.cbuy, bar.csell
    sums.lbuy, sums.lsell = bar.lbuy, bar.lsell
    if bar.cbuy or bar.csell:
        sums.first_ms, sums.first_order = bar.time * 1000, _FIRST_EVER
        sums.last_ms, sums.last_order = (bar.time + interval_s) * 1000 - 1, _LAST_EVER
    return keep(sums)
