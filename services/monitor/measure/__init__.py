"""What is measured, source by source: the readings that rules are held against.

Each source has its own cadence and time-out, so that one that hangs delays no other. Rules:

- A value that could not be measured has no reading. Its absence means unknown, never that all is
  well: an incident that is open for it stays open.
- A flag is 1.0 (it is so) or 0.0 (measured: it is not so). What is listed by subject only while it
  is wrong (a gap, a failing venue) is told as 0.0 for ten minutes after it was last wrong, and
  then no more.
- While a source cannot be read there is `monitor_blind` = 1.0 with the source as subject, and
  none of its other readings once they are older than `catalog.STALE_S`; `monitor_blind` = 0.0 says
  that it was read. `catalog.SOURCES` names, for each source, the service whose own failure makes it
  blind, so that one fault is not told twice.

Readings (name: subject: value), by source. `catalog.READINGS` holds the same for programs.

services
  service_down              service: 1.0 while one that was seen at work is down; `detail` is the
                            cause, `since_s` the age of its last proof of work
  service_not_started       service: 1.0 while one never seen at work is down (it may be starting
                            still); then it has no `service_down`
  service_degraded          service: 1.0 while it works, but not fully
containers
  service_restarts_10min    service: restarts in the last ten minutes
  container_unhealthy       service: 1.0 while its container's own health check fails
  container_memory_percent  service: of its container's limit, without file cache
host
  host_cpu_percent          host: of all cores, since the last look
  host_memory_percent       host: not available to programs
  host_swap_percent         host: of the swap there is
  host_load_per_core        host: load of the last minute over cores
  disk_used_percent         path: as `df` counts it
  disk_full_in_h            path: hours until it is full at the rate of the last hour; 8760, a year,
                            if that is longer or it does not fill; unknown for ten minutes
clock
  clock_offset_ms           host: our clock minus the venues' (median of venues)
redis
  redis_memory_percent      redis: of maxmemory
  redis_evicted_per_min     redis: keys thrown out
  redis_clients_percent     redis: of maxclients
  redis_rejected_per_min    redis: connections refused because of maxclients
influx
  influx_series             database: series
  influx_memory_bytes       aggr-influx: memory its process has from the system
bars
  bars_age_s                collector: age of its newest bars message
collector
  feed_down                 EXCHANGE/feed: 1.0 while it is not live
  market_gap_open_s         market: length so far of its open gap
  spool_used_percent        aggr-server: of its limit, what InfluxDB has not taken yet
  spool_unwritable          aggr-server: 1.0 while the spool cannot be written
open-interest
  oi_venue_failing          venue: 1.0 while oi-tracker cannot read it
signals
  signals_without_outcome   strategy_signals: entries whose validity is long over and whose outcome
                            is still pending, though no trade is open for them
freqtrade
  position_without_stop     pair: 1.0 while a live position has no stop on the exchange
  entries_locked            pair, or `*` for all: 1.0 while freqtrade's protections lock entries
halt
  trading_halted            entries: 1.0 while the kill switch is on; `since_s` since when
backup
  backup_age_h              folder: age of the newest complete backup
  backup_missing            folder: 1.0 if there is none
all
  monitor_blind             source: 1.0 while it cannot be read
"""
