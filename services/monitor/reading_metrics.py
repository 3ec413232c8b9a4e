"""Readings as Prometheus metrics: base units, and markets counted instead of named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric

from services.monitor.readings import Reading

PERCENT, MS, HOUR, PER_MINUTE = 0.01, 0.001, 3600.0, 1.0 / 60.0


class Shown(NamedTuple):
    """Metric of a reading, without its prefix: `value * scale`, the subject as `label`.

    An empty label: there is one subject only.
    """

    metric: str
    text: str
    label: str = ""
    scale: float = 1.0


SHOWN = {
    "service_restarts_10min": Shown(
        "service_restarts", "Restarts in the last ten minutes.", "service"
    ),
    "container_unhealthy": Shown(
        "container_unhealthy", "1 while the container's own health check fails.", "service"
    ),
    "container_memory_percent": Shown(
        "container_memory_ratio", "Memory of its limit, without file cache.", "service", PERCENT
    ),
    "host_cpu_percent": Shown("host_cpu_ratio", "Busy share of all cores.", "", PERCENT),
    "host_memory_percent": Shown(
        "host_memory_ratio", "Share of memory that programs cannot get.", "", PERCENT
    ),
    "host_swap_percent": Shown("host_swap_ratio", "Used share of swap.", "", PERCENT),
    "host_load_per_core": Shown("host_load_per_core", "Load of the last minute over cores."),
    "disk_used_percent": Shown("disk_used_ratio", "Used share of the disk.", "path", PERCENT),
    "disk_full_in_h": Shown(
        "disk_full_seconds", "Until the disk is full at the last hour's rate.", "path", HOUR
    ),
    "clock_offset_ms": Shown("clock_offset_seconds", "This clock minus the venues'.", "", MS),
    "redis_memory_percent": Shown("redis_memory_ratio", "Memory of maxmemory.", "", PERCENT),
    "redis_evicted_per_min": Shown(
        "redis_evicted_keys_per_second", "Keys thrown out for want of memory.", "", PER_MINUTE
    ),
    "redis_clients_percent": Shown("redis_clients_ratio", "Clients of maxclients.", "", PERCENT),
    "redis_rejected_per_min": Shown(
        "redis_rejected_connections_per_second", "Connections refused.", "", PER_MINUTE
    ),
    "influx_series": Shown("influx_series", "Series in the database.", "database"),
    "influx_memory_bytes": Shown("influx_memory_bytes", "Memory InfluxDB has from the system."),
    "bars_age_s": Shown("bars_age_seconds", "Age of a collector's newest bars.", "collector"),
    "feed_down": Shown("feed_down", "1 while a feed is not live.", "feed"),
    "spool_used_percent": Shown(
        "spool_used_ratio", "Spool that InfluxDB has not taken, of its limit.", "service", PERCENT
    ),
    "spool_unwritable": Shown("spool_unwritable", "1 while it cannot be written.", "service"),
    "oi_venue_failing": Shown(
        "open_interest_failing", "1 while oi-tracker cannot read the exchange.", "exchange"
    ),
    "signals_without_outcome": Shown(
        "signals_without_outcome", "Entries long over whose outcome is still pending."
    ),
    "position_without_stop": Shown(
        "position_without_stop", "1 while a live position has no stop on the exchange.", "pair"
    ),
    "entries_locked": Shown(
        "entries_locked", "1 while freqtrade's protections lock entries; * is all pairs.", "pair"
    ),
    "trading_halted": Shown("trading_halted", "1 while the kill switch is on."),
    "backup_age_h": Shown("backup_age_seconds", "Age of the newest backup.", "folder", HOUR),
    "backup_missing": Shown("backup_missing", "1 if there is no backup.", "folder"),
    "monitor_blind": Shown("monitor_blind", "1 while this source cannot be read.", "source"),
}
"""Reading -> how it is shown."""

COUNTED = {"market_gap_open_s"}
"""Told by market, of which there are hundreds: shown as a number and the largest."""

ELSEWHERE = {"service_down", "service_not_started", "service_degraded"}
"""Shown as `squeezeflow_service_up` and `squeezeflow_service_degraded`, fresher than these."""


def families(readings: Iterable[Reading]) -> Iterator[Metric]:
    """One metric for each kind of reading that is there."""
    found: dict[str, GaugeMetricFamily] = {}
    gaps = []
    for reading in readings:
        if reading.name == "market_gap_open_s":
            gaps.append(reading.value)
        shown = SHOWN.get(reading.name)
        if shown is None:
            continue
        labels = [shown.label] if shown.label else []
        family = found.setdefault(
            reading.name,
            GaugeMetricFamily(f"squeezeflow_{shown.metric}", shown.text, labels=labels),
        )
        # Prometheus refuses everything if two samples are called the same.
        if labels or not family.samples:
            family.add_metric([reading.subject] * len(labels), reading.value * shown.scale)
    yield from found.values()
    if gaps:
        yield GaugeMetricFamily(
            "squeezeflow_gaps_open",
            "Markets whose trades are not received, among those with a gap in the last minutes.",
            sum(length > 0 for length in gaps),
        )
        yield GaugeMetricFamily(
            "squeezeflow_gap_open_max_seconds", "Length so far of the longest.", max(gaps)
        )
