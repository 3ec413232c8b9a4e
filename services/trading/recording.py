"""Signals are recorded when they are out, and only by the one who may decide."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

from services.core import names
from services.core.points import Field
from services.core.records import Signal
from services.influx_signal_manager import (
    InfluxSignalManager,
    Outcome,
    PointKey,
    line_of_fill,
    line_of_outcome,
    line_of_signal,
)
from services.trading.outbox import Outbox


class LeaderRecord:
    """Passes on what is to be recorded once the outbox has written what was told before.

    What the outbox may not write, because another replica leads the symbol, is not recorded. Until
    InfluxDB has it, it stands in Redis too, from the moment at which the signal is out: whoever
    leads the symbol next records it if this process is killed.
    """

    def __init__(self, record: InfluxSignalManager, outbox: Outbox) -> None:
        self._record = record
        self._outbox = outbox
        self._last = 0

    def record(self, signal: Signal, decision: Mapping[str, Any]) -> None:
        """A published signal."""
        self._keep(signal.symbol, line_of_signal(signal, decision))

    def filled(self, key: PointKey, trade_id: int, price: float, ts_ms: int) -> None:
        """The signal led to a trade."""
        self._keep(key.tags["symbol"], line_of_fill(key, trade_id, price, ts_ms))

    def finish(self, key: PointKey, outcome: Outcome, **fields: Field | None) -> None:
        """The signal's outcome."""
        self._keep(key.tags["symbol"], line_of_outcome(key, outcome, **fields))

    def recall(self, symbol: str, kept: Mapping[bytes, bytes]) -> None:
        """Record what the symbol's last leader had not: the hash `names.unrecorded`."""
        for number in sorted(kept, key=int):
            self._store(symbol, number.decode(), kept[number].decode())

    def _keep(self, symbol: str, text: str) -> None:
        # Later is larger, also after another process.
        self._last = max(self._last + 1, time.time_ns())
        number = str(self._last)
        self._outbox.field(names.unrecorded(symbol), number, text.encode(), symbol=symbol)
        self._outbox.afterwards(symbol, functools.partial(self._store, symbol, number, text))

    def _store(self, symbol: str, number: str, text: str) -> None:
        key = names.unrecorded(symbol)
        done = functools.partial(self._outbox.field, key, number, None, symbol=symbol)
        self._record.store(text, done)
