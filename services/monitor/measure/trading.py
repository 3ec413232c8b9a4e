"""Trading: positions without a stop, locks, the kill switch, signals that nobody answered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from aggr_server.influx import InfluxClient, InfluxError, InfluxUnavailable
from services.core import halt, names
from services.core.halt import NEVER_SET
from services.core.records import Halt
from services.freqtrade_client import (
    FreqtradeClient,
    FreqtradeRefused,
    FreqtradeUnreachable,
    Lock,
    ShowConfig,
    Trade,
)
from services.monitor.measure.board import Unreadable
from services.monitor.readings import Reading

FREQTRADE_EVERY_S = 10.0
FREQTRADE_TIMEOUT_S = 12.0
SIGNALS_EVERY_S = 60.0
SIGNALS_TIMEOUT_S = 8.0

ANSWERED_WITHIN_S = 300.0
"""strategy-runner settles what was left open at its next look, every few minutes."""

LOOK_BACK = "7d"
NAMED = 3

PAUSES = ("Cooldown period", "Auto lock")
"""How the reasons of freqtrade's locks begin that follow every trade, whatever became of it."""


class Freqtrade:
    """Asks freqtrade's REST API."""

    def __init__(self, client: FreqtradeClient) -> None:
        self._client = client

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            config = await self._client.show_config()
            # Nothing is at stake in trades of a dry run.
            trades = [] if config.dry_run else await self._client.status()
            locks = await self._client.locks()
        except (FreqtradeUnreachable, FreqtradeRefused) as error:
            raise Unreadable(str(error)) from error
        return [*without_stop(config, trades), *locked(locks, time.time_ns() // 1_000_000)]


def without_stop(config: ShowConfig, trades: Iterable[Trade]) -> list[Reading]:
    """Open trades with coins in them for which no stop order rests on the exchange."""
    cause = (
        "freqtrade has placed none"
        if config.stoploss_on_exchange
        else "stoploss_on_exchange is off in freqtrade's configuration"
    )
    bare: dict[str, list[Trade]] = {}
    for trade in trades:
        stops = any(o.is_open and o.ft_order_side == "stoploss" for o in trade.orders)
        if trade.is_open and trade.amount > 0 and not stops:
            bare.setdefault(trade.pair, []).append(trade)
    return [
        Reading(
            name="position_without_stop",
            subject=pair,
            value=1.0,
            detail=f"{_held(of_pair)}; {cause}",
        )
        for pair, of_pair in bare.items()
    ]


def _held(trades: Sequence[Trade]) -> str:
    return ", ".join(
        f"{'short' if t.is_short else 'long'} {t.amount:.10g} (trade {t.trade_id})" for t in trades
    )


def locked(locks: Iterable[Lock], now_ms: int) -> list[Reading]:
    """Locks of protections, one reading a pair; the longest tells its reason."""
    longest: dict[str, Lock] = {}
    for lock in locks:
        if not lock.active or (lock.reason or "").startswith(PAUSES):
            continue
        known = longest.get(lock.pair)
        if known is None or lock.lock_end_timestamp > known.lock_end_timestamp:
            longest[lock.pair] = lock
    return [
        Reading(
            name="entries_locked",
            subject=pair,
            value=1.0,
            detail=f"{lock.reason or 'no reason given'}; for another "
            f"{max(0, lock.lock_end_timestamp - now_ms) / 60_000:.0f} min",
            since_s=max(0, now_ms - lock.lock_timestamp) / 1000,
        )
        for pair, lock in longest.items()
    ]


class Switch:
    """Reads the kill switch."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            raw = await self._redis.get(names.HALT)
        except RedisError as error:
            raise Unreadable(str(error) or type(error).__name__) from error
        now_ms = time.time_ns() // 1_000_000
        record = halt.decode(raw, now_ms) if isinstance(raw, bytes) else NEVER_SET
        return [of_switch(record, now_ms)]


def of_switch(record: Halt, now_ms: int) -> Reading:
    """1.0 while entries are halted; by whom and why."""
    return Reading(
        name="trading_halted",
        subject="entries",
        value=float(record.halted),
        detail=halt.describe(record),
        since_s=max(0, now_ms - record.ts_ms) / 1000 if record.halted else 0.0,
    )


class Signals:
    """Reads `strategy_signals`."""

    def __init__(self, influx: InfluxClient) -> None:
        self._influx = influx

    async def readings(self) -> list[Reading]:
        """Raises `Unreadable`."""
        try:
            rows = await self._influx.query(
                "SELECT signal_id, ttl_seconds, outcome, fill_time "
                f'FROM "{names.SIGNALS_MEASUREMENT}" '
                f"WHERE outcome = 'pending' AND action != 'CLOSE' AND time > now() - {LOOK_BACK} "
                'GROUP BY "symbol"',
                epoch="ms",
            )
        except (InfluxError, InfluxUnavailable) as error:
            raise Unreadable(str(error)) from error
        return [unanswered(rows, time.time_ns() // 1_000_000)]


def unanswered(rows: Iterable[dict[str, Any]], now_ms: int) -> Reading:
    """Signals that are pending, were not filled, and whose validity is long over.

    `rows`: of `strategy_signals`, with tag symbol, time in ms, UTC.
    """
    old = [
        row
        for row in sorted(rows, key=lambda row: int(row["time"]))
        if not row.get("fill_time")
        and now_ms - int(row["time"]) > 1000 * (int(row["ttl_seconds"] or 0) + ANSWERED_WITHIN_S)
    ]
    named = ", ".join(f"{row['symbol']} {str(row['signal_id'])[:8]}" for row in old[:NAMED])
    return Reading(
        name="signals_without_outcome",
        subject=names.SIGNALS_MEASUREMENT,
        value=float(len(old)),
        detail=named + (" ..." if len(old) > NAMED else ""),
        since_s=(now_ms - int(old[0]["time"])) / 1000 if old else 0.0,
    )
