"""Where closed seconds leave: numbered, stored and announced."""

from __future__ import annotations

import time
import uuid

from aggr_server.bars import Closed
from aggr_server.bus import Bus
from aggr_server.gaps import GapBook
from aggr_server.metrics import Metrics
from aggr_server.wire import ClosedSecond
from aggr_server.writer import Writer


class Outlet:
    """Turns closed periods into messages, with the gaps known by then, for `writer` and `bus`."""

    def __init__(
        self, collector: str, gaps: GapBook, metrics: Metrics, writer: Writer, bus: Bus
    ) -> None:
        self.gaps = gaps
        self.metrics = metrics
        self.writer = writer
        self.bus = bus
        self._collector = collector
        self._epoch = uuid.uuid4().hex
        self._seq = 0

    def emit(self, closed: Closed) -> None:
        """Hand a closed period on; never waits."""
        self._seq += 1
        published_ms = time.time_ns() // 1_000_000
        message = ClosedSecond(
            collector=self._collector,
            epoch=self._epoch,
            seq=self._seq,
            second=closed.second,
            published_ms=published_ms,
            last_trade_ms=closed.last_trade_ms,
            bars=closed.bars,
            amended=closed.amended,
            gaps=self.writer.take_down_gaps() + self.gaps.report(closed.second),
        )
        self.writer.add(message)
        self.bus.publish(message)
        self.metrics.bars.inc(len(closed.bars))
        self.metrics.amended.inc(len(closed.amended))
        if closed.last_trade_ms is not None:
            self.metrics.latency.observe((published_ms - closed.last_trade_ms) / 1000)
