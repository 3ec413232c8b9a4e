"""Signals are recorded when they are out, and only by the one who may decide."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from services.core.points import Field
from services.core.records import Signal
from services.influx_signal_manager import Outcome, PointKey
from services.trading.outbox import Outbox
from services.trading.ports import SignalRecord


class LeaderRecord:
    """Passes on what is to be recorded once the outbox has written what was told before.

    What the outbox may not write, because another replica leads the symbol, is not recorded.
    """

    def __init__(self, record: SignalRecord, outbox: Outbox) -> None:
        self._record = record
        self._outbox = outbox

    def record(self, signal: Signal, decision: Mapping[str, Any]) -> None:
        """A published signal."""
        write = functools.partial(self._record.record, signal, decision)
        self._outbox.afterwards(signal.symbol, write)

    def filled(self, key: PointKey, trade_id: int, price: float, ts_ms: int) -> None:
        """The signal led to a trade."""
        write = functools.partial(self._record.filled, key, trade_id, price, ts_ms)
        self._outbox.afterwards(key.tags["symbol"], write)

    def finish(self, key: PointKey, outcome: Outcome, **fields: Field | None) -> None:
        """The signal's outcome."""
        write = functools.partial(self._record.finish, key, outcome, **fields)
        self._outbox.afterwards(key.tags["symbol"], write)
