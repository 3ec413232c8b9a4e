"""What Prometheus is told of a collector's state, read at the moment it asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as Source

from aggr_server.collector import Collector

Family = GaugeMetricFamily | CounterMetricFamily


class _Figures(Source):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        yield from self._markets()
        yield from self._feeds()
        yield from self._gaps()
        yield from self._late()
        yield from self._storage()
        yield from self._bus()

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
        labels = ["exchange", "feed"]
        live = GaugeMetricFamily("aggr_feeds_live", "Live connections.", labels=labels)
        families = {
            name: CounterMetricFamily(f"aggr_feed_{name}", text, labels=labels)
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
            values = [feed_name.partition("/")[0], feed_name]
            live.add_metric(values, total["live"])
            for name, family in families.items():
                family.add_metric(values, total[name])
        yield live
        yield from families.values()

    def _gaps(self) -> Iterator[Metric]:
        collector = self._collector
        is_open = collector.gaps.is_open
        yield _by_exchange(
            GaugeMetricFamily(
                "aggr_gaps_open", "Markets whose trades are not received.", labels=["exchange"]
            ),
            ((m.exchange, is_open(m.name)) for m in collector.markets.values()),
        )
        yield CounterMetricFamily("aggr_gaps", "Gaps recorded.", collector.gaps.recorded)
        yield CounterMetricFamily(
            "aggr_gap_seconds_recovered",
            "Seconds rebuilt from what exchanges tell of the past.",
            collector.gaps.fetched_s,
        )
        yield _by_exchange(
            CounterMetricFamily(
                "aggr_recovery_failures", "Attempts to fetch the past.", labels=["exchange"]
            ),
            ((v.adapter.name, v.recovery.failures) for v in collector.venues),
        )

    def _late(self) -> Iterator[Metric]:
        late = CounterMetricFamily("aggr_late_trades", "Trades by how they missed.", labels=["how"])
        for how in ("late", "too_late", "early", "ahead"):
            late.add_metric([how], getattr(self._collector.builder, how))
        yield late

    def _storage(self) -> Iterator[Metric]:
        writer, spool = self._collector.writer, self._collector.spool
        yield CounterMetricFamily(
            "aggr_influx_points", "Points stored in InfluxDB.", writer.points_written
        )
        yield CounterMetricFamily(
            "aggr_influx_points_refused", "Points refused by InfluxDB.", writer.points_refused
        )
        yield GaugeMetricFamily("aggr_influx_up", "InfluxDB took the last write.", writer.connected)
        yield GaugeMetricFamily("aggr_spool_bytes", "Bytes of the spool on disk.", spool.bytes)
        yield GaugeMetricFamily(
            "aggr_spool_max_bytes", "Bytes the spool may take.", spool.max_bytes
        )
        yield GaugeMetricFamily(
            "aggr_spool_waiting_bytes", "Bytes not yet in InfluxDB.", spool.waiting_bytes
        )
        yield GaugeMetricFamily(
            "aggr_spool_waiting_seconds", "Closed seconds not yet in InfluxDB.", spool.waiting
        )
        yield GaugeMetricFamily("aggr_spool_writable", "The disk takes it.", not spool.trouble)
        yield CounterMetricFamily(
            "aggr_spool_given_up_seconds", "Seconds given up for want of room.", spool.given_up
        )

    def _bus(self) -> Iterator[Metric]:
        bus = self._collector.bus
        yield CounterMetricFamily("aggr_published", "Seconds published.", bus.published)
        yield CounterMetricFamily("aggr_publish_dropped", "Seconds not published.", bus.dropped)
        yield GaugeMetricFamily("aggr_redis_up", "Redis took the last message.", bus.connected)


class _Lags:
    """Hands the lag of each market that trades to the histogram, once a second."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._sampled: dict[str, int] = {}

    def take(self) -> None:
        histogram = self._collector.metrics.trade_lag
        for market in self._collector.markets.values():
            if market.trades != self._sampled.get(market.name, 0):
                self._sampled[market.name] = market.trades
                histogram.labels(market.exchange).observe(max(0, market.lag_ms) / 1000)


def watch(collector: Collector) -> None:
    """Add the figures of `collector` to its metrics."""
    collector.metrics.registry.register(_Figures(collector))
    collector.metrics.each_second.append(_Lags(collector).take)


def _by_exchange(family: Family, values: Iterable[tuple[str, float]]) -> Family:
    sums: Counter[str] = Counter()
    for exchange, value in values:
        sums[exchange] += int(value)
    for exchange, total in sums.items():
        family.add_metric([exchange], total)
    return family
