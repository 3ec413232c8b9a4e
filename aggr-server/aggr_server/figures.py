"""What Prometheus is told of a collector's state, read at the moment it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as Source

from aggr_server.collector import Collector


class _Figures(Source):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        yield from self._markets()
        yield from self._feeds()
        yield from self._rest()

    def _markets(self) -> Iterator[Metric]:
        labels = ["exchange", "market"]
        families = {
            name: CounterMetricFamily(f"aggr_{name}", text, labels=labels)
            for name, text in (
                ("trades", "Trades counted."),
                ("liquidations", "Forced orders counted."),
                ("duplicates", "Trades and forced orders received again and ignored."),
                ("invalid", "Trades without a valid price or size."),
            )
        }
        for market in self._collector.markets.values():
            for name, family in families.items():
                family.add_metric([market.exchange, market.name], getattr(market, name))
        yield from families.values()

    def _feeds(self) -> Iterator[Metric]:
        live = GaugeMetricFamily("aggr_feeds_live", "Live connections.", labels=["feed"])
        families = {
            name: CounterMetricFamily(f"aggr_feed_{name}", text, labels=["feed"])
            for name, text in (
                ("frames", "Frames received."),
                ("reconnects", "Connections lost or refused."),
                ("parse_errors", "Frames not understood."),
            )
        }
        totals: dict[str, dict[str, int]] = {}
        for feed in self._collector.feeds:
            total = totals.setdefault(feed.name, dict.fromkeys((*families, "live"), 0))
            for name in families:
                total[name] += getattr(feed, name)
            total["live"] += feed.is_live
        for feed_name, total in totals.items():
            live.add_metric([feed_name], total["live"])
            for name, family in families.items():
                family.add_metric([feed_name], total[name])
        yield live
        yield from families.values()

    def _rest(self) -> Iterator[Metric]:
        collector, builder, writer = (
            self._collector,
            self._collector.builder,
            self._collector.writer,
        )
        late = CounterMetricFamily("aggr_late_trades", "Trades by how they missed.", labels=["how"])
        for how in ("late", "too_late", "early", "ahead"):
            late.add_metric([how], getattr(builder, how))
        yield late
        yield CounterMetricFamily("aggr_gaps", "Gaps recorded.", collector.gaps.recorded)
        yield CounterMetricFamily(
            "aggr_influx_points", "Points stored in InfluxDB.", writer.points_written
        )
        yield CounterMetricFamily(
            "aggr_influx_points_refused", "Points refused by InfluxDB.", writer.points_refused
        )
        yield CounterMetricFamily(
            "aggr_bars_dropped", "Bars given up, InfluxDB being away.", writer.bars_dropped
        )
        yield GaugeMetricFamily("aggr_backlog_bars", "Bars not yet stored.", writer.backlog)
        yield GaugeMetricFamily("aggr_influx_up", "InfluxDB took the last write.", writer.connected)
        bus = collector.bus
        yield CounterMetricFamily("aggr_published", "Seconds published.", bus.published)
        yield CounterMetricFamily("aggr_publish_dropped", "Seconds not published.", bus.dropped)
        yield GaugeMetricFamily("aggr_redis_up", "Redis took the last message.", bus.connected)


def watch(collector: Collector) -> None:
    """Add the figures of `collector` to its metrics."""
    collector.metrics.registry.register(_Figures(collector))
