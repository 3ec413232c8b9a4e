"""Open interest in InfluxDB and Redis.

Measurement `open_interest`, tags:
  symbol          BTCUSDT
  exchange        the venue, FUTURES_AGG or TOTAL_AGG
  aggregate_type  `exchange`: a venue, the sum over its perpetuals, margined in dollars or in the
                  coin; `contract`: one of them, of venues with several; FUTURES_AGG: the sum over
                  the main derivatives venues BINANCE_FUTURES, BYBIT, OKX, DERIBIT and PHEMEX, as
                  far as they are asked, which stays comparable when further ones are added;
                  TOTAL_AGG: the sum over all venues that are asked
  contract        contracts only: its name at the venue
Fields:
  open_interest   US dollars; left out of a sum that lacks a venue
  coins           base coins, one-sided; likewise
  oi_change_24h   change of `coins` over 24 hours as a fraction (0.05), of a sum over the venues
                  known at both times; absent without history
  oi_change_pct   the same in percent (5.0)
  price           not of sums: US dollars per coin
  raw, unit       the venue's own figure and its unit; absent from the sum over its perpetuals
  venues, carried, held, missing   sums only: comma-separated. carried: last value, up to 30 min
                  old; held: value before a jump that is not believed
  partial_open_interest, partial_coins   sums only, instead of the former, while a venue is missing
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core import names
from services.core.points import line
from services.core.records import OpenInterest, OpenInterestTotal
from services.market.symbols import base_of_symbol, symbol_of
from services.oi.aggregate import Aggregate
from services.oi.guard import Held

T = TypeVar("T", OpenInterest, Held)

FUTURES_AGG = "FUTURES_AGG"
TOTAL_AGG = "TOTAL_AGG"
FUTURES_VENUES = frozenset({"BINANCE_FUTURES", "BYBIT", "OKX", "DERIBIT", "PHEMEX"})
REDIS_TTL_S = 3600

_DAY_MS = names.DAY_S * 1000
_TOLERANCE_MS = 30 * 60_000


def venue_lines(sample: OpenInterest, change: float | None) -> list[str]:
    """One venue's point, and those of its perpetuals if it has several."""
    tags = {"symbol": symbol_of(sample.base), "exchange": sample.exchange}
    found = [
        line(
            names.OI_MEASUREMENT,
            {**tags, "aggregate_type": "exchange"},
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
    ]
    if len(sample.contracts) < 2:
        return found
    for part in sample.contracts:
        fields = {"open_interest": part.usd, "coins": part.coins, "price": part.price}
        found.append(
            line(
                names.OI_MEASUREMENT,
                {**tags, "aggregate_type": "contract", "contract": part.contract},
                {**fields, "raw": part.raw, "unit": part.unit},
                part.ts_ms,
            )
        )
    return found


def aggregate_line(base: str, kind: str, total: Aggregate, change: float | None, ts_ms: int) -> str:
    """The point of a sum; `kind`: FUTURES_AGG or TOTAL_AGG."""
    amount = "open_interest" if total.complete else "partial_open_interest"
    return line(
        names.OI_MEASUREMENT,
        {"symbol": symbol_of(base), "exchange": kind, "aggregate_type": kind},
        {
            amount: total.usd,
            "coins" if total.complete else "partial_coins": total.coins,
            "venues": ",".join(total.venues),
            "carried": ",".join(total.carried),
            "held": ",".join(total.held),
            "missing": ",".join(total.missing),
            **_changes(change),
        },
        ts_ms,
    )


async def coins_a_day_ago(
    influx: InfluxClient, bases: Sequence[str], now_ms: int
) -> dict[str, dict[str, float]]:
    """Base -> venue -> coins 24 hours ago, at most 30 minutes older; without those that have none.

    Raises `InfluxError`, `InfluxUnavailable`.
    """
    if not bases:
        return {}
    until = now_ms - _DAY_MS
    symbols = " OR ".join(f"symbol = '{symbol_of(base)}'" for base in bases)
    rows = await influx.query(
        f"SELECT last(coins) AS coins FROM {names.OI_MEASUREMENT} "
        f"WHERE ({symbols}) AND aggregate_type = 'exchange' "
        f"AND time > {until - _TOLERANCE_MS}ms AND time <= {until}ms GROUP BY symbol, exchange"
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(base_of_symbol(row["symbol"]), {})[row["exchange"]] = float(row["coins"])
    return found


async def publish(redis: Redis, samples: Iterable[OpenInterest]) -> None:
    """Set the newest values and announce them. Raises `redis.exceptions.RedisError`."""
    async with redis.pipeline(transaction=False) as pipe:
        for sample in samples:
            record = msgspec.json.encode(sample)
            pipe.hset(names.open_interest(sample.base), sample.exchange, record)
            pipe.expire(names.open_interest(sample.base), REDIS_TTL_S)
            pipe.publish(names.OI_CHANNEL, record)
        await pipe.execute()


async def publish_totals(redis: Redis, totals: Iterable[OpenInterestTotal]) -> None:
    """Set the sums. Raises `redis.exceptions.RedisError`."""
    async with redis.pipeline(transaction=False) as pipe:
        for total in totals:
            pipe.set(names.open_interest_total(total.base), msgspec.json.encode(total), REDIS_TTL_S)
        await pipe.execute()


async def keep_held(redis: Redis, bases: Iterable[str], held: Iterable[Held]) -> None:
    """Replace what is held of `bases`. Raises `redis.exceptions.RedisError`."""
    async with redis.pipeline(transaction=True) as pipe:
        for base in bases:
            pipe.delete(names.open_interest_held(base))
        for jump in held:
            key = names.open_interest_held(jump.sample.base)
            pipe.hset(key, jump.sample.exchange, msgspec.json.encode(jump))
            pipe.expire(key, REDIS_TTL_S)
        await pipe.execute()


async def remembered(redis: Redis, bases: Iterable[str]) -> tuple[list[OpenInterest], list[Held]]:
    """What an earlier run left of `bases`: values and jumps; what cannot be read is left out.

    Raises `redis.exceptions.RedisError`.
    """
    samples: list[OpenInterest] = []
    held: list[Held] = []
    for base in bases:
        for value in (await redis.hgetall(names.open_interest(base))).values():
            samples += _decoded(value, OpenInterest)
        for value in (await redis.hgetall(names.open_interest_held(base))).values():
            held += _decoded(value, Held)
    return samples, held


def _decoded(value: bytes | str, kind: type[T]) -> list[T]:
    try:
        return [msgspec.json.decode(value, type=kind)]
    except msgspec.MsgspecError:
        return []


def _changes(change: float | None) -> dict[str, float | None]:
    return {
        "oi_change_24h": change,
        "oi_change_pct": None if change is None else change * 100,
    }
