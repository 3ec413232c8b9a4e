"""Prometheus metrics of one collector, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_LATENCY = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
_LAG = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """What is counted as it happens; `figures` adds what is read when asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.bars = Counter("aggr_bars", "Bars closed.", registry=self.registry)
        self.amended = Counter(
            "aggr_bars_amended", "Closed bars changed by late trades.", registry=self.registry
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

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)
