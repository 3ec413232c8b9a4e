"""C1 and C2: 5,000 trades a second over 200 markets, then a burst of 20,000 a second."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts.stack.running import StackError
from tests.bench.flooding.rig import Closing, Collector, Stores, Venue, ending, percentile, wait_for

MARKETS = 200
STEADY_RATE, STEADY_S = 5_000, int(os.environ.get("BENCH_STEADY_S", "60"))
BURST_RATE, BURST_S = 20_000, 10
CALM_MS = 1_000
"""A second published later than this after its end says that the collector lags."""


def run() -> dict[str, Any]:
    """Send the trades of 200 markets to the real collector process, paced; count what is stored.

    `c1_bar_delay_*_ms`: from the end of a second to its publication, the collector's grace of
    200 ms included. `c1_cores`: CPU seconds of the collector in each second. `c1_dropped`,
    `c2_dropped`: trades sent that are not stored. `c2_late_s`: seconds published more than a second
    late, during the burst and after it. Environment: BENCH_STEADY_S, length of C1, 60 by default.
    """
    folder = Path(tempfile.mkdtemp(prefix="throughput-"))
    stores = Stores(folder)
    try:
        stores.start()
        venue = Venue("binance_futures", MARKETS, folder / "venue.log")
        with ending(venue):
            collector = Collector(venue, stores)
            with ending(collector.child):
                collector.wait_live()
                steady = _paced(venue, collector, stores, STEADY_RATE, STEADY_S)
                burst = _paced(venue, collector, stores, BURST_RATE, BURST_S)
                rss_mb = round(collector.child.rss_mb(), 1)
    finally:
        stores.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return {
        **{f"c1_{name}": value for name, value in steady.items()},
        **{f"c2_{name}": value for name, value in burst.items()},
        "rss_mb": rss_mb,
    }


def _paced(
    venue: Venue, collector: Collector, stores: Stores, rate: int, seconds: int
) -> dict[str, Any]:
    closing = Closing(stores.redis.port)
    used, began = collector.child.cpu_s(), time.monotonic()
    sent = venue.flood(rate * seconds, rate)
    took = time.monotonic() - began
    cores = (collector.child.cpu_s() - used) / took
    with suppress(StackError):  # what is missing is one of the figures
        wait_for("storing every trade", lambda: collector.stored() >= venue.sent, 30)
    delays = closing.stop()
    return {
        "trades_per_s": round(sent / took),
        "cores": round(cores, 3),
        "bar_delay_p50_ms": percentile(delays, 0.5),
        "bar_delay_p99_ms": percentile(delays, 0.99),
        "bar_delay_max_ms": percentile(delays, 1.0),
        "late_s": sum(delay > CALM_MS for delay in delays),
        "dropped": venue.sent - collector.stored(),
    }
