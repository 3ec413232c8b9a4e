"""Prometheus metrics of one collector, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from aggr_server.ccxt_markets import split
from aggr_server.lately import GapLog, Rates
from aggr_server.wire import ClosedSecond

_LATENCY = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
_LAG = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_TRADE_LAG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """What is counted as it happens; `figures` adds what is read when asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rates = Rates()
        self.gap_log = GapLog()
        self.each_second: list[Callable[[], None]] = []
        """Called when a second has closed."""
        self.bars = Counter("aggr_bars", "Bars closed.", registry=self.registry)
        self.amended = Counter(
            "aggr_bars_amended",
            "Closed bars changed by late or fetched trades.",
            ["exchange"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "aggr_bar_latency_seconds",
            "From the last trade of a second to the bars' publication.",
            buckets=_LATENCY,
            registry=self.registry,
        )
        self.loop_lag = Histogram(
            "aggr_loop_lag_seconds",
            "How late the event loop turns to a task.",
            buckets=_LAG,
            registry=self.registry,
        )
        self.trade_lag = Histogram(
            "aggr_trade_lag_seconds",
            "From a trade to its reception, by both clocks; a sample of each market's trades.",
            ["exchange"],
            buckets=_TRADE_LAG,
            registry=self.registry,
        )

    def count(self, message: ClosedSecond) -> None:
        """Take note of a closed second."""
        self.bars.inc(len(message.bars))
        for bar in message.amended:
            self.amended.labels(split(bar.market)[0]).inc()
        if message.last_trade_ms is not None:
            self.latency.observe((message.published_ms - message.last_trade_ms) / 1000)
        self.rates.add(message.second, message.bars)
        self.gap_log.add(message.gaps)
        for function in self.each_second:
            function()

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)
