"""Open interest in InfluxDB and Redis.

Measurement `open_interest`, tags:
  symbol          BTCUSDT
  exchange        the venue, or FUTURES_AGG for the sum over venues
  aggregate_type  `exchange`, or FUTURES_AGG
Fields:
  open_interest   US dollars; left out of a sum that lacks a venue
  coins           base coins, one-sided
  oi_change_24h   change of `coins` over 24 hours as a fraction (0.05); absent without history
  oi_change_pct   the same in percent (5.0)
  price, raw, unit            venues only: US dollars per coin; the venue's own figure and its unit
  venues, carried, missing    sum only: comma-separated; carried: last value, up to 30 min old
  partial_open_interest       sum only, instead of open_interest, while a venue is missing
"""

from __future__ import annotations

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core import names
from services.core.points import line
from services.core.records import OpenInterest
from services.market.symbols import symbol_of
from services.oi.aggregate import Aggregate

FUTURES_AGG = "FUTURES_AGG"
REDIS_TTL_S = 3600

_DAY_MS = names.DAY_S * 1000
_TOLERANCE_MS = 30 * 60_000


def venue_line(sample: OpenInterest, change: float | None) -> str:
    """One venue's point."""
    return line(
        names.OI_MEASUREMENT,
        {
            "symbol": symbol_of(sample.base),
            "exchange": sample.exchange,
            "aggregate_type": "exchange",
        },
        {
            "open_interest": sample.usd,
            "coins": sample.coins,
            "price": sample.price,
            "raw": sample.raw,
            "unit": sample.unit,
            **_changes(change),
        },
        sample.ts_ms,
    )


def aggregate_line(base: str, total: Aggregate, change: float | None, ts_ms: int) -> str:
    """The point of the sum."""
    amount = "open_interest" if total.complete else "partial_open_interest"
    return line(
        names.OI_MEASUREMENT,
        {"symbol": symbol_of(base), "exchange": FUTURES_AGG, "aggregate_type": FUTURES_AGG},
        {
            amount: total.usd,
            "coins" if total.complete else "partial_coins": total.coins,
            "venues": ",".join(total.venues),
            "carried": ",".join(total.carried),
            "missing": ",".join(total.missing),
            **_changes(change),
        },
        ts_ms,
    )


async def coins_a_day_ago(influx: InfluxClient, base: str, now_ms: int) -> dict[str, float]:
    """Venue -> coins 24 hours ago, at most 30 minutes older; without venues that have none.

    Raises `InfluxError`, `InfluxUnavailable`.
    """
    until = now_ms - _DAY_MS
    rows = await influx.query(
        f"SELECT last(coins) AS coins FROM {names.OI_MEASUREMENT} "
        f"WHERE symbol = '{symbol_of(base)}' AND aggregate_type = 'exchange' "
        f"AND time > {until - _TOLERANCE_MS}ms AND time <= {until}ms GROUP BY exchange"
    )
    return {row["exchange"]: float(row["coins"]) for row in rows}


async def publish(redis: Redis, samples: list[OpenInterest]) -> None:
    """Set the newest values and announce them. Raises `redis.exceptions.RedisError`."""
    async with redis.pipeline(transaction=False) as pipe:
        for sample in samples:
            record = msgspec.json.encode(sample)
            pipe.hset(names.open_interest(sample.base), sample.exchange, record)
            pipe.expire(names.open_interest(sample.base), REDIS_TTL_S)
            pipe.publish(names.OI_CHANNEL, record)
        await pipe.execute()


def _changes(change: float | None) -> dict[str, float | None]:
    return {
        "oi_change_24h": change,
        "oi_change_pct": None if change is None else change * 100,
    }
