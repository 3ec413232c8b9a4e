"""Faults that only Redis and InfluxDB can show. The ids are those of the list of known faults."""

from __future__ import annotations

import time

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient, NotSetUp
from aggr_server.settings import Connections
from services.core import names
from services.influx_signal_manager import (
    InfluxSignalManager,
    line_of_fill,
    line_of_signal,
    point_key,
)
from services.performance_monitor import PerformanceMonitor
from services.trading.outbox import Outbox
from tests.integration.trading.test_performance_monitor import settings
from tests.unit.test_signal_validator import NOW, signal


async def test_D56_a_close_that_is_lost_is_written_again_until_it_is_confirmed(
    redis: Redis,
) -> None:
    outbox = Outbox(redis, now_ms=lambda: NOW)
    key = names.signal("BTCUSDT")
    outbox.show(signal(action="CLOSE"))
    await outbox.flush()
    for _ in range(3):
        assert await redis.delete(key) == 1
        outbox.turn()
        await outbox.flush()
    outbox.withdraw("BTCUSDT")
    await outbox.flush()
    outbox.turn()
    await outbox.flush()
    assert await redis.exists(key) == 0


async def test_D62_a_counter_ends_a_day_after_it_began(redis: Redis) -> None:
    outbox = Outbox(redis, now_ms=lambda: NOW)
    outbox.count("signals_expired")
    await outbox.flush()
    assert await redis.ttl(names.stat("signals_expired")) == pytest.approx(86_400, abs=5)
    await redis.expire(names.stat("signals_expired"), 100)
    outbox.count("signals_expired")
    await outbox.flush()
    assert await redis.get(names.stat("signals_expired")) == b"2"
    assert await redis.ttl(names.stat("signals_expired")) <= 100


async def test_D63_a_signal_and_its_outcome_are_one_point(influx: InfluxClient) -> None:
    manager = InfluxSignalManager(influx)
    now_ms = time.time_ns() // 1_000_000 - 60_000
    one = signal(ts_ms=now_ms)
    manager.store(line_of_signal(one, {}))
    await manager.drain()
    manager.store(line_of_fill(point_key(one), 1, 100.0, now_ms + 200))
    manager.finish(point_key(one), "profitable", pnl=1.0, exit_reason="CVD_TREND")
    await manager.drain()
    (row,) = await influx.query(
        f'SELECT "signal_id", "outcome", "trade_id" FROM "{names.SIGNALS_MEASUREMENT}"'
    )
    assert (row["signal_id"], row["outcome"], row["trade_id"]) == ("id-1", "profitable", 1)
    assert (await manager.analytics(now_ms, now_ms + 1))["total"] == 1


async def test_D64_a_query_that_fails_is_no_report_of_zeros(
    connections: Connections, redis: Redis
) -> None:
    wrong = msgspec.structs.replace(settings(connections), influx_database="nowhere")
    with pytest.raises(NotSetUp, match="database not found: nowhere"):
        await PerformanceMonitor(wrong).read()
