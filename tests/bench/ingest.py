"""The collector under a flood of trades: trades per CPU second, against the plainest collector."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.stack.running import StackError
from tests.bench.flooding.rig import Child, Closing, Collector, Stores, Venue, ending, percentile
from tests.bench.flooding.rig import wait_for as wait

SHAPES = ("binance_futures", "okex")
MARKETS = (1, 200)
ROUNDS = 3
TRADES = 400_000
RATE = 200_000.0
PLAIN_TRADES = 200_000
WARM_UP = 20_000
MEMORY_MARKETS = 300
TRADES_A_SECOND = 4.0
KEPT_S = 330
SPEED = 20.0


def run() -> dict[str, Any]:
    """Flood the real collector process, storing in a real InfluxDB, over loopback websockets.

    `trades_per_cpu_s_*`: trades received, built and stored in one CPU second (user and system) of
    the collector, the lower median of the two shapes. `ratio_plain`: least ratio to a collector
    made of `websockets`, `json` and a dictionary. `rss_mb`: with 300 markets, 5 minutes of bars.
    `sent`, `stored`: trades of all rounds; they must be equal.
    """
    folder = Path(tempfile.mkdtemp(prefix="ingest-"))
    stores = Stores(folder)
    try:
        stores.start()
        shapes = {
            f"{shape}_{markets}": _measure(shape, markets, stores)
            for shape in SHAPES
            for markets in MARKETS
        }
        memory = _memory(stores)
    finally:
        stores.stop()
    shutil.rmtree(folder, ignore_errors=True)
    figures = list(shapes.values())
    return {
        "trades_per_cpu_s_single": _least(figures, 1),
        "trades_per_cpu_s_200": _least(figures, 200),
        "ratio_plain": min(f["ratio_plain"] for f in figures),
        "rss_mb": memory["rss_mb"],
        "stored": sum(f["stored"] for f in figures) + memory["stored"],
        "sent": sum(f["sent"] for f in figures) + memory["sent"],
        "shapes": shapes,
        "memory": memory,
    }


def _least(figures: Sequence[dict[str, Any]], markets: int) -> int:
    return min(int(f["trades_per_cpu_s"]) for f in figures if f["markets"] == markets)


def _measure(shape: str, markets: int, stores: Stores) -> dict[str, Any]:
    venue = Venue(shape, markets, stores.folder / "venue.log")
    with ending(venue):
        plain = _plain(shape, markets, venue, stores.folder)
        sent_to_plain = venue.sent
        collector = Collector(venue, stores)
        with ending(collector.child):
            collector.wait_live()
            venue.flood(WARM_UP, RATE)
            closing = Closing(stores.redis.port)
            rounds = [_round(venue, collector, sent_to_plain) for _ in range(ROUNDS)]
            delays = closing.stop()
            rss_mb = collector.child.rss_mb()
    figure = statistics.median(rounds)
    return {
        "markets": markets,
        "trades_per_cpu_s": round(figure),
        "rounds": [round(r) for r in rounds],
        "plain_trades_per_cpu_s": round(plain),
        "ratio_plain": round(figure / plain, 2),
        "close_delay_p50_ms": percentile(delays, 0.5),
        "close_delay_max_ms": percentile(delays, 1.0),
        "rss_mb": round(rss_mb, 1),
        "sent": venue.sent - sent_to_plain,
        "stored": collector.stored(),
    }


def _round(venue: Venue, collector: Collector, before: int) -> float:
    """Trades per CPU second, from the first trade until all of them are stored."""
    started = collector.child.cpu_s()
    sent = venue.flood(TRADES, RATE)
    expected = venue.sent - before
    wait("storing every trade", lambda: collector.stored() >= expected, 20)
    used = collector.child.cpu_s() - started
    if (stored := collector.stored()) != expected:
        raise StackError(f"ingest: {expected} trades were sent, {stored} are stored")
    return sent / used


def _plain(shape: str, markets: int, venue: Venue, folder: Path) -> float:
    gateway = venue.url.replace("http", "ws", 1)
    plain = Child(
        "tests.bench.flooding.plain", shape, str(markets), gateway, log=folder / "plain.log"
    )
    with ending(plain):
        plain.ask()
        venue.flood(WARM_UP, RATE)
        started = plain.cpu_s()
        sent = venue.flood(PLAIN_TRADES, RATE)
        wait("counting every trade", lambda: int(plain.ask("count")) == venue.sent, 20)
        return sent / (plain.cpu_s() - started)


def _memory(stores: Stores) -> dict[str, Any]:
    """Memory with 300 markets that trade in every second, after all the time bars are kept.

    Time passes faster, for the venue and the collector alike.
    """
    clock = f"{time.time_ns() // 1_000_000}*{SPEED}"
    rate = MEMORY_MARKETS * TRADES_A_SECOND * SPEED
    venue = Venue("binance_futures", MEMORY_MARKETS, stores.folder / "venue.log", clock)
    with ending(venue):
        collector = Collector(venue, stores, clock)
        with ending(collector.child):
            collector.wait_live()
            venue.flood(round(rate * KEPT_S / SPEED), rate)
            wait("storing every trade", lambda: collector.stored() >= venue.sent, 20)
            return {
                "markets": MEMORY_MARKETS,
                "seconds": KEPT_S,
                "rss_mb": round(collector.child.rss_mb(), 1),
                "sent": venue.sent,
                "stored": collector.stored(),
            }
