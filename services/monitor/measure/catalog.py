"""The readings there are, for programs; what they mean is told in the package's docstring."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

STALE_S = 90.0
"""How long the last readings of a source that cannot be read any more are still told."""

FORGET_S = 600.0
"""How long it is told that something that was wrong no longer is."""


class Kind(msgspec.Struct, frozen=True):
    """`unit`: of the value; `flag` for 1.0 or 0.0. `source`: whose blindness makes it unknown.

    `listed`: subjects are told only while something is wrong with them.
    """

    unit: str
    source: str
    listed: bool = False


SOURCES: Mapping[str, str] = {
    "services": "",
    "containers": "",
    "host": "",
    "clock": "",
    "redis": "redis",
    "influx": "aggr-influx",
    "bars": "redis",
    "collector": "aggr-server",
    "open-interest": "oi-tracker",
    "signals": "aggr-influx",
    "freqtrade": "freqtrade",
    "halt": "redis",
    "backup": "",
}
"""Source -> service that is down when the source cannot be read; empty: no single one."""

READINGS: Mapping[str, Kind] = {
    "service_down": Kind("flag", "services"),
    "service_not_started": Kind("flag", "services"),
    "service_degraded": Kind("flag", "services"),
    "service_restarts_10min": Kind("restarts", "containers"),
    "container_unhealthy": Kind("flag", "containers"),
    "container_memory_percent": Kind("percent", "containers"),
    "host_cpu_percent": Kind("percent", "host"),
    "host_memory_percent": Kind("percent", "host"),
    "host_swap_percent": Kind("percent", "host"),
    "host_load_per_core": Kind("load", "host"),
    "disk_used_percent": Kind("percent", "host"),
    "disk_full_in_h": Kind("h", "host"),
    "clock_offset_ms": Kind("ms", "clock"),
    "redis_memory_percent": Kind("percent", "redis"),
    "redis_evicted_per_min": Kind("1/min", "redis"),
    "redis_clients_percent": Kind("percent", "redis"),
    "redis_rejected_per_min": Kind("1/min", "redis"),
    "influx_series": Kind("series", "influx"),
    "influx_memory_bytes": Kind("bytes", "influx"),
    "bars_age_s": Kind("s", "bars"),
    "feed_down": Kind("flag", "collector"),
    "market_gap_open_s": Kind("s", "collector", listed=True),
    "spool_used_percent": Kind("percent", "collector"),
    "spool_unwritable": Kind("flag", "collector"),
    "oi_venue_failing": Kind("flag", "open-interest", listed=True),
    "signals_without_outcome": Kind("signals", "signals"),
    "position_without_stop": Kind("flag", "freqtrade", listed=True),
    "entries_locked": Kind("flag", "freqtrade", listed=True),
    "trading_halted": Kind("flag", "halt"),
    "backup_age_h": Kind("h", "backup"),
    "backup_missing": Kind("flag", "backup"),
    "monitor_blind": Kind("flag", ""),
}
"""Name of a reading -> what it is."""
