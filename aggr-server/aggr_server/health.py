"""What the collector says of itself."""

from __future__ import annotations

from typing import Any

from aggr_server.collector import Collector
from aggr_server.feed import now_ms

STALLED_MS = 5000


def health(collector: Collector) -> dict[str, Any]:
    """The answer of `/health`. `status`: `ok`, `degraded` or `failed`, `problems` says why.

    `failed`: nothing is collected, or what is collected reaches nobody. `degraded`: part of it.
    """
    now = now_ms()
    failures, troubles = _problems(collector, now)
    bus, writer = collector.bus, collector.writer
    return {
        "status": "failed" if failures else "degraded" if troubles else "ok",
        "problems": failures + troubles,
        "feeds": [
            {
                "feed": feed.name,
                "state": feed.state.value,
                "markets": [market.name for market in feed.markets],
                "reconnects": feed.reconnects,
                "last_error": feed.last_error,
            }
            for feed in collector.feeds
        ],
        "markets": {
            name: {
                "last_trade_age_s": (
                    round((now - market.last_trade_ms) / 1000, 1) if market.last_trade_ms else None
                ),
                "trades": market.trades,
                "complete": not collector.gaps.is_open(name),
                "refused": market.refused,
            }
            for name, market in collector.markets.items()
        },
        "undiscovered": collector.undiscovered,
        "influx": {
            "connected": writer.connected,
            "backlog_bars": writer.backlog,
            "points_refused": writer.points_refused,
            "bars_dropped": writer.bars_dropped,
        },
        "redis": {
            "connected": bus.connected,
            "dropped": bus.dropped,
        },
        "last_second": collector.builder.next_s - collector.builder.interval_s,
        "loop_lag_ms": round(collector.lag_ms, 1),
    }


def status(collector: Collector) -> tuple[str, dict[str, object]]:
    """The same in a few words and figures, for the heartbeat."""
    failures, troubles = _problems(collector, now_ms())
    markets = collector.markets.values()
    return "; ".join(failures + troubles)[:200] or "ok", {
        "cycle_ms": collector.lag_ms,
        "markets": len(markets),
        "feeds_live": sum(feed.is_live for feed in collector.feeds),
        "feeds": len(collector.feeds),
        "trades": sum(market.trades for market in markets),
        "backlog_bars": collector.writer.backlog,
    }


def _problems(collector: Collector, now: int) -> tuple[list[str], list[str]]:
    failures, troubles = [], []
    if not collector.writer.connected:
        failures.append("InfluxDB is away")
    if not collector.bus.connected:
        failures.append("Redis is away")
    if now - collector.last_turn_ms > STALLED_MS + collector.builder.interval_s * 1000:
        failures.append("the event loop is stuck")
    broken = [feed for feed in collector.feeds if not feed.is_live]
    if len(broken) == len(collector.feeds):
        failures.append("no feed is live")
    else:
        troubles += [f"{feed.name} is {feed.state}: {feed.last_error}" for feed in broken]
    troubles += [f"markets of {name} are not known yet" for name in collector.undiscovered]
    if collector.writer.points_refused:
        troubles.append("InfluxDB refused points, see the log")
    troubles += [f"{m.name} is refused" for m in collector.markets.values() if m.refused]
    return failures, troubles
