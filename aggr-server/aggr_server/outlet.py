"""Where closed seconds leave: numbered, kept on disk, stored and announced."""

from __future__ import annotations

import uuid

from aggr_server import clock
from aggr_server.bars import Closed
from aggr_server.bus import Bus
from aggr_server.gaps import GapBook
from aggr_server.metrics import Metrics
from aggr_server.spool import Spool
from aggr_server.wire import ClosedSecond
from aggr_server.writer import Writer


class Outlet:
    """Turns closed periods into messages, with the gaps known by then.

    They are in `spool`, from where `writer` takes them, before `bus` publishes them; the bus does
    not wait for anything else.
    """

    def __init__(
        self,
        collector: str,
        gaps: GapBook,
        metrics: Metrics,
        spool: Spool,
        writer: Writer,
        bus: Bus,
    ) -> None:
        self.gaps = gaps
        self.metrics = metrics
        self.spool = spool
        self.writer = writer
        self.bus = bus
        self._collector = collector
        self._epoch = uuid.uuid4().hex
        self._seq = 0

    def emit(self, closed: Closed) -> None:
        """Hand a closed period on; waits for a write to the page cache at most."""
        self._seq += 1
        message = ClosedSecond(
            collector=self._collector,
            epoch=self._epoch,
            seq=self._seq,
            second=closed.second,
            published_ms=clock.now_ms(),
            last_trade_ms=closed.last_trade_ms,
            bars=closed.bars,
            amended=closed.amended,
            gaps=self.gaps.report(closed.second),
        )
        self.spool.append(message)
        self.writer.wake()
        self.bus.publish(message)
        self.metrics.count(message)
