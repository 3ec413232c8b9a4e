"""Redis keys, channels and InfluxDB measurements that services write. Standard library only.

The collector's own names are in `aggr_server.wire`.
"""

from __future__ import annotations

PREFIX = "squeezeflow"

SIGNALS_CHANNEL = f"{PREFIX}:signals"
FILLS_STREAM = f"{PREFIX}:fills"
FILLS_GROUP = "strategy-runner"
FILLS_MAXLEN = 10_000
LAST_ACTIVITY = f"{PREFIX}:last_activity"
HEARTBEAT_CHANNEL = f"{PREFIX}:heartbeat"
ALERTS = f"{PREFIX}:alerts"
ALERTS_STREAM = f"{PREFIX}:alerts:stream"
"""The same alerts, for who must miss none; field `data`."""
ALERTS_MAXLEN = 2_000
INCIDENTS = f"{PREFIX}:incidents"
STATUS = f"{PREFIX}:status"
OI_CHANNEL = f"{PREFIX}:oi"
VIEWS = f"{PREFIX}:views"
"""Channel: what the strategy sees, `views.Views` each second, while anybody listens."""
READINGS = f"{PREFIX}:readings"
"""Hash `name:subject` -> `readings.Reading` as JSON: what system-monitor measured last."""
REPLICAS = f"{PREFIX}:replicas"
LEASE_GRACE = f"{PREFIX}:lease_grace"
SLOTS = f"{PREFIX}:slots"
ENTRIES = f"{PREFIX}:entries"
HALT = f"{PREFIX}:halt"
"""The kill switch, a `Halt`. It never expires."""

SIGNAL_HISTORY_LENGTH = 100
ALERTS_LENGTH = 200
HEARTBEAT_TTL_S = 15
LAST_ACTIVITY_TTL_S = 30
DAY_S = 86_400

SIGNALS_MEASUREMENT = "strategy_signals"
OI_MEASUREMENT = "open_interest"
BACKFILL_MEASUREMENT = "backfilled_1m"
"""Minutes from venues' candles in place of missing ones: tag market; prices, vbuy, vsell, trades.
In the retention policy of the one-minute bars, but apart from them: no roll-up is made of them."""
CONTAINERS_MEASUREMENT = "container_stats"
HOST_MEASUREMENT = "host_stats"
DISK_MEASUREMENT = "disk_stats"
HEALTH_MEASUREMENT = "service_health"
ALERTS_MEASUREMENT = "system_alerts"
BACKUPS_MEASUREMENT = "backups"
"""Tag what: create, test; fields ok, status, took_s."""
READINGS_MEASUREMENT = "readings"
"""Tags name, subject; field value."""


def signal(symbol: str) -> str:
    """Current signal of a symbol; exists only while the signal is valid."""
    return f"{PREFIX}:signal:{symbol}"


def history(symbol: str) -> str:
    """List of the last signals of a symbol, newest first."""
    return f"{PREFIX}:history:{symbol}"


def stat(name: str) -> str:
    """A counter, for example `signals_published`."""
    return f"{PREFIX}:stats:{name}"


def executed(signal_id: str) -> str:
    """Claim on a signal: set once, by the executor, before it orders."""
    return f"{PREFIX}:executed:{signal_id}"


def announced(signal_id: str, event: str) -> str:
    """Set with the publication of a signal or of its end, so that it happens once."""
    return f"{PREFIX}:announced:{signal_id}:{event}"


def unrecorded(symbol: str) -> str:
    """Hash number -> line of what InfluxDB has yet to be told about a symbol's signals."""
    return f"{PREFIX}:unrecorded:{symbol}"


def pending_baseline(signal_id: str) -> str:
    """CVD at the decision second, before the trade id is known."""
    return f"{PREFIX}:cvd_baselines:signal:{signal_id}"


def trade_baseline(trade_id: int) -> str:
    """CVD at the fill second of a freqtrade trade."""
    return f"{PREFIX}:cvd_baselines:trade:{trade_id}"


def symbol_baselines(symbol: str) -> str:
    """Set of the trade ids that have a baseline."""
    return f"{PREFIX}:cvd_baselines:symbol:{symbol}"


def cvd_epoch(base: str) -> str:
    """CVD accumulators of a base symbol."""
    return f"{PREFIX}:cvd_epoch:{base}"


def state(symbol: str) -> str:
    """Snapshot of the state machine of a symbol."""
    return f"{PREFIX}:state:{symbol}"


def lease(symbol: str) -> str:
    """Which strategy-runner decides for a symbol."""
    return f"{PREFIX}:lease:{symbol}"


def lease_fence(symbol: str) -> str:
    """Token of the newest lease of a symbol; it only ever grows."""
    return f"{PREFIX}:lease_fence:{symbol}"


EXECUTOR_LEASE = lease("executor")
"""Which freqtrade may enter trades: `OWNER:TOKEN`."""
EXECUTOR_FENCE = lease_fence("executor")
EXECUTOR_PROCESS = f"{PREFIX}:executor_process"
"""The process that holds this lease, by a name that it drew for itself."""


def heartbeat(service: str) -> str:
    """Last sign of life of a service."""
    return f"{PREFIX}:heartbeat:{service}"


def heartbeats(service: str) -> str:
    """Hash replica -> last sign of life, of a service with several replicas."""
    return f"{PREFIX}:heartbeats:{service}"


def notified(channel: str) -> str:
    """Sorted set of what was last told through a channel, by time."""
    return f"{PREFIX}:notified:{channel}"


def open_interest(base: str) -> str:
    """Hash exchange -> `OpenInterest` as JSON, one per base symbol."""
    return f"{PREFIX}:oi:{base}"


def open_interest_total(base: str) -> str:
    """The sum over venues with each one's share, `OpenInterestTotal` as JSON."""
    return f"{PREFIX}:oi_total:{base}"


def open_interest_held(base: str) -> str:
    """Hash exchange -> a jump in its open interest that is not believed yet; for oi-tracker."""
    return f"{PREFIX}:oi_held:{base}"
