"""What the collector says of itself."""

from __future__ import annotations

from typing import Any

from aggr_server import clock
from aggr_server.collector import Collector
from aggr_server.feed import Feed
from aggr_server.markets import MarketState
from aggr_server.wire import Gap

STALLED_MS = 5000
NEARLY_FULL = 0.9


def health(collector: Collector) -> dict[str, Any]:
    """The answer of `/health`. `status`: `ok`, `degraded` or `failed`, `problems` says why.

    `failed`: nothing is collected, or what is collected reaches nobody or is being lost.
    `degraded`: part of it, or it will be.
    """
    now = clock.now_ms()
    failures, troubles = _problems(collector, now)
    bus, writer, spool = collector.bus, collector.writer, collector.spool
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
                "last_trade_age_s": _age_s(market, now),
                "trades": market.trades,
                "complete": not collector.gaps.is_open(name),
                "refused": market.refused,
            }
            for name, market in collector.markets.items()
        },
        "undiscovered": collector.undiscovered,
        "influx": {"connected": writer.connected, "points_refused": writer.points_refused},
        "spool": {
            "bytes": spool.bytes,
            "max_bytes": spool.max_bytes,
            "waiting_bytes": spool.waiting_bytes,
            "waiting_s": spool.waiting,
            "given_up_s": spool.given_up,
            "trouble": spool.trouble,
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
    failures, troubles = _problems(collector, clock.now_ms())
    markets = collector.markets.values()
    return "; ".join(failures + troubles)[:200] or "ok", {
        "cycle_ms": collector.lag_ms,
        # From one collector's heartbeat a monitor knows how many there must be.
        "shard": collector.shard.index,
        "shards": collector.shard.count,
        "markets": len(markets),
        "feeds_live": sum(feed.is_live for feed in collector.feeds),
        "feeds": len(collector.feeds),
        "trades": sum(market.trades for market in markets),
        "waiting_s": collector.spool.waiting,
    }


def markets(collector: Collector) -> list[dict[str, Any]]:
    """The answer of `/markets`: each market with how it is doing, by name."""
    now = clock.now_ms()
    feeds: dict[str, list[Feed]] = {}
    for feed in collector.feeds:
        for market in feed.markets:
            feeds.setdefault(market.name, []).append(feed)
    return [
        _market(collector, market, feeds.get(name, []), now)
        for name, market in sorted(collector.markets.items())
    ]


def _market(
    collector: Collector, market: MarketState, feeds: list[Feed], now: int
) -> dict[str, Any]:
    name, instrument, metrics = market.name, market.instrument, collector.metrics
    live = all(feed.is_live for feed in feeds) and bool(feeds)
    state = "live" if live else next((f.state.value for f in feeds if not f.is_live), "waiting")
    gaps = metrics.gap_log.of(name, now // 1000)
    return {
        "market": name,
        "exchange": market.exchange,
        "base": instrument.base,
        "quote": instrument.quote,
        "kind": instrument.kind,
        "contract_size": instrument.contract_size,
        "contract_unit": instrument.quote if instrument.inverse else instrument.base,
        "state": "refused" if market.refused else state,
        "problem": market.refused or next((f.last_error for f in feeds if f.last_error), ""),
        "complete": not collector.gaps.is_open(name),
        "feeds": [feed.name for feed in feeds],
        "trades": market.trades,
        "trades_per_s": round(metrics.rates.of(name), 3),
        "last_trade_ms": market.last_trade_ms or None,
        "last_trade_age_s": _age_s(market, now),
        "lag_ms": market.lag_ms,
        "liquidations": market.liquidations,
        "duplicates": market.duplicates,
        "invalid": market.invalid,
        "gap_open": collector.gaps.is_open(name),
        "gaps_24h": [_gap(gap) for gap in gaps],
        "gap_seconds_24h": sum(gap.to_s - gap.from_s for gap in gaps),
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {"from_s": gap.from_s, "to_s": gap.to_s, "reason": gap.reason}


def _age_s(market: MarketState, now: int) -> float | None:
    return round((now - market.last_trade_ms) / 1000, 1) if market.last_trade_ms else None


def _problems(collector: Collector, now: int) -> tuple[list[str], list[str]]:
    failures, troubles = _storage(collector)
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
    troubles += [f"{m.name} is refused" for m in collector.markets.values() if m.refused]
    return failures, troubles


def _storage(collector: Collector) -> tuple[list[str], list[str]]:
    writer, spool = collector.writer, collector.spool
    problems = []
    if not writer.connected:
        problems.append("InfluxDB is away")
    if spool.alarm:
        problems.append(spool.alarm)
    full = spool.waiting_bytes > NEARLY_FULL * spool.max_bytes
    failed = not writer.connected and (full or bool(spool.trouble))
    refused = ["InfluxDB refused points, see the log"] if writer.points_refused else []
    return (problems, refused) if failed else ([], problems + refused)
