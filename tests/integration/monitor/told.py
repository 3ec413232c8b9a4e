"""What services tell through Redis while the stack is at work, for who shows it."""

from __future__ import annotations

import time

import msgspec
from redis.asyncio import Redis

from services.core import names
from services.core.records import OpenInterestShare, OpenInterestTotal
from services.monitor import readings
from services.monitor.incidents import Incident, Level
from services.monitor.measure.catalog import READINGS
from services.monitor.readings import Reading
from tests.integration.monitor.support import beat

STRATEGY: dict[str, object] = {
    "states": {"BTCUSDT": "WATCHING", "ETHUSDT": "RESET"},
    "entries_allowed": True,
    "last_second": 1_700_000_000,
    "lag_ms": 250,
    "warm": False,
    "cycle_ms": {"count": 600, "median": 2.5, "p99": 7.5, "max": 20.0},
    "stages_ms": {"bus": {"count": 600, "median": 1.25, "p99": 4.0, "max": 9.0}},
    "processed_after_ms": {"count": 600, "median": 220.0, "p99": 310.0, "max": 400.0},
    "source": "redis",
    "late_bars": 3,
    "lost_bars": 0,
    "coverage": {"BTCUSDT": 0.97, "ETHUSDT": 1.0},
    "replicas": {"a-1": ["BTCUSDT"], "b-1": ["ETHUSDT"]},
}
EXECUTOR: dict[str, object] = {"open_trades": 2, "dry_run": True, "halted": False}
SUBJECTS = {
    "service_restarts_10min": ["strategy-runner"],
    "disk_used_percent": ["/", "/data"],
    "market_gap_open_s": ["BINANCE:btcusdt", "OKEX:BTC-USDT-SWAP", "BYBIT:BTCUSDT"],
}
GAPS_S = [0.0, 12.0, 90.0]


async def tell_everything(redis: Redis) -> None:
    """Every record there is, once."""
    await beat(redis, "strategy-runner", details=STRATEGY)
    await beat(redis, "freqtrade", details=EXECUTOR)
    await beat(redis, "system-monitor")
    await tell_readings(redis)
    await open_incident(redis, "service_down:oi-tracker", "critical", "oi-tracker is down: silent")
    await redis.set(names.stat("signals_published"), 7)
    await redis.set(names.stat("signals_rejected:RISK_LIMIT"), 2)
    await tell_open_interest(redis)


async def tell_readings(redis: Redis) -> None:
    """One of every kind, 42 each but for the gaps."""
    now_ms = time.time_ns() // 1_000_000
    told = [
        Reading(name=name, subject=subject, value=value, ts_ms=now_ms)
        for name in READINGS
        for subject, value in zip(SUBJECTS.get(name, ["here"]), _values(name), strict=False)
    ]
    await readings.publish(redis, told)


async def open_incident(redis: Redis, key: str, level: Level, text: str) -> None:
    """One that is a minute old. `text`: what, and after a semicolon what to do."""
    code, _, subject = key.partition(":")
    incident = Incident(
        level=level,
        code=code,
        subject=subject,
        text=text,
        what=text.partition(";")[0],
        ts_ms=time.time_ns() // 1_000_000 - 61_000,
    )
    await redis.hset(names.INCIDENTS, key, msgspec.json.encode(incident).decode())


async def tell_open_interest(redis: Redis, *, missing: tuple[str, ...] = ()) -> None:
    now_ms = time.time_ns() // 1_000_000
    shares = [
        OpenInterestShare(exchange=name, coins=coins, usd=coins * 1e5, price=1e5, ts_ms=now_ms)
        for name, coins in (("BINANCE_FUTURES", 3.0), ("BYBIT", 1.0))
    ]
    total = OpenInterestTotal(
        base="BTC",
        ts_ms=now_ms,
        coins=4.0,
        usd=4e5,
        change_24h=None,
        venues=shares,
        missing=list(missing),
    )
    await redis.set(names.open_interest_total("BTC"), msgspec.json.encode(total))


def _values(name: str) -> list[float]:
    return GAPS_S if name == "market_gap_open_s" else [42.0, 43.0]
