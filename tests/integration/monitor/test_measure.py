"""Sources read from real servers, each figure held against another way of knowing it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import CHANNEL, ClosedSecond, encode
from services import influx_init
from services.core import names
from services.core.clients import redis_client
from services.core.points import line
from services.core.settings import InfluxSchemaSettings, SystemMonitorSettings
from services.core.switch import KillSwitch
from services.monitor.checks import Checker
from services.monitor.measure.board import Unreadable
from services.monitor.measure.catalog import READINGS, SOURCES
from services.monitor.measure.feeds import Bars
from services.monitor.measure.influx import InfluxServer
from services.monitor.measure.interest import OpenInterest
from services.monitor.measure.redis import RedisServer
from services.monitor.measure.sources import Sources
from services.monitor.measure.trading import ANSWERED_WITHIN_S, Signals, Switch
from services.monitor.monitor import Monitor
from services.monitor.processes import KnownProcesses
from services.monitor.readings import Reading, publish, read
from services.system_monitor import REDIS_TIMEOUT_S, STREAM_TIMEOUT_S
from tests.integration.monitor.support import NO_EXCHANGES, beat, monitor_settings
from tests.integration.servers import InfluxServer as Influxd
from tests.integration.servers import RedisServer as Redisd


def by_name(readings: list[Reading]) -> dict[str, float]:
    return {reading.name: reading.value for reading in readings}


async def test_redis_figures_agree_with_its_own(own_redis: Redisd) -> None:
    with BlockingRedis(port=own_redis.port) as other:
        other.config_set("maxmemory", "4mb")
        other.config_set("maxmemory-policy", "allkeys-lru")
        other.config_set("maxclients", "100")
        async with Redis(port=own_redis.port) as client:
            server = RedisServer(client)
            first = by_name(await server.readings())
            info: Any = other.info()
            used = 100 * info["used_memory"] / info["maxmemory"]
            assert first["redis_memory_percent"] == pytest.approx(used, abs=5)
            assert first["redis_clients_percent"] == info["connected_clients"]
            assert first["redis_evicted_per_min"] == 0
            for number in range(2000):
                other.set(f"filler:{number}", b"x" * 4000)
            second = by_name(await server.readings())
            info = other.info()
            assert info["evicted_keys"] > 0
            assert second["redis_evicted_per_min"] == info["evicted_keys"]
            assert second["redis_rejected_per_min"] == 0


async def test_a_redis_that_is_away_is_unreadable(own_redis: Redisd) -> None:
    client = redis_client(Connections(redis_port=own_redis.port), socket_timeout_s=0.2)
    own_redis.kill()
    for source in (RedisServer(client), Switch(client), OpenInterest(client)):
        with pytest.raises(Unreadable):
            await source.readings()
    await client.aclose()


async def test_influx_figures_agree_with_the_database_and_the_kernel(tmp_path: Path) -> None:
    server = Influxd(tmp_path, auth=True)
    server.start()
    settings = InfluxSchemaSettings(
        influx_port=server.port, influx_database="counted", influx_password="a-password-for-tests"
    )
    influx_init.ensure_user(settings, report=lambda _: None)
    try:
        async with InfluxClient(settings) as influx:
            await influx.query('CREATE DATABASE "counted"')
            await influx.write([f"bars,market=M{number} close=1 {number}" for number in range(40)])
            await influx.write(["gaps,market=M1 from_s=1i 1"])
            found = by_name(await InfluxServer(influx, "counted").readings())
            exact = await influx.query('SHOW SERIES EXACT CARDINALITY ON "counted"')
        resident = psutil.Process(server.pid).memory_info().rss
    finally:
        server.kill()
    assert found["influx_series"] == sum(row["count"] for row in exact) == 41
    # What the runtime has taken but not touched is not resident; its code is, and it counts not.
    assert resident / 3 < found["influx_memory_bytes"] < resident * 3


async def test_a_frozen_influx_is_unreadable_and_not_waited_for(own_influx: Influxd) -> None:
    settings = Connections(influx_port=own_influx.port)
    own_influx.pause()
    async with InfluxClient(settings, timeout_s=0.3) as influx:
        for source in (InfluxServer(influx, "any"), Signals(influx)):
            with pytest.raises(Unreadable):
                await source.readings()
    own_influx.resume()


async def test_the_kill_switch_is_read_as_it_is_thrown(redis: Redis, redis_port: int) -> None:
    assert by_name(await Switch(redis).readings()) == {"trading_halted": 0.0}
    with BlockingRedis(port=redis_port) as blocking:
        switch = KillSwitch(blocking)
        switch.throw(halted=True, by="me", reason="odd prices")
        (halted,) = await Switch(redis).readings()
        assert (halted.value, halted.detail) == (1.0, "halted by me: odd prices")
        switch.throw(halted=False, by="me", reason="")
    assert by_name(await Switch(redis).readings()) == {"trading_halted": 0.0}


async def test_venues_that_fail_are_read_from_the_heartbeat(redis: Redis) -> None:
    await beat(redis, "oi-tracker", details={"failing": {"BYBIT": "BTC: answered 403"}})
    (found,) = await OpenInterest(redis).readings()
    assert (found.subject, found.detail) == ("BYBIT", "BTC: answered 403")
    await redis.delete(names.heartbeat("oi-tracker"))
    with pytest.raises(Unreadable, match="no sign of life"):
        await OpenInterest(redis).readings()


async def test_only_signals_that_nobody_answered_are_counted(influx: InfluxClient) -> None:
    now_ms = time.time_ns() // 1_000_000
    old_ms = now_ms - int(1000 * ANSWERED_WITHIN_S) - 60_000
    fates: list[tuple[int, str, dict[str, Any]]] = [
        (old_ms, "LONG", {"outcome": "pending"}),
        (old_ms + 1, "LONG", {"outcome": "expired"}),
        (old_ms + 2, "SHORT", {"outcome": "pending", "fill_time": "2026-11-22T00:00:00.000Z"}),
        (old_ms + 3, "CLOSE", {"outcome": "pending"}),
        (now_ms - 1000, "LONG", {"outcome": "pending"}),
    ]
    assert by_name(await Signals(influx).readings()) == {"signals_without_outcome": 0.0}
    await influx.write(
        [
            line(
                names.SIGNALS_MEASUREMENT,
                {"symbol": "BTCUSDT", "action": action},
                {"signal_id": f"signal-{number}", "ttl_seconds": 5, **fields},
                ts_ms,
            )
            for number, (ts_ms, action, fields) in enumerate(fates)
        ],
        precision="ms",
    )
    (found,) = await Signals(influx).readings()
    assert (found.value, found.detail) == (1.0, "BTCUSDT signal-0")


@pytest.fixture
async def bars(own_redis: Redisd) -> AsyncIterator[Bars]:
    settings = Connections(redis_port=own_redis.port)
    streams = redis_client(settings, socket_timeout_s=10.0)
    asked = redis_client(settings, socket_timeout_s=0.5)
    made, stop = Bars(streams, asked), asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    yield made
    stop.set()
    await running
    await streams.aclose()
    await asked.aclose()


def message(collector: str, published_ms: int) -> bytes:
    return encode(
        ClosedSecond(
            collector=collector, epoch="e", seq=1, second=published_ms // 1000,
            published_ms=published_ms, last_trade_ms=None, bars=[],
        )
    )  # fmt: skip


async def age_of(bars: Bars, collector: str) -> float:
    """Its age as soon as it is known."""
    async with asyncio.timeout(20):
        while True:
            try:
                found = {r.subject: r.value for r in await bars.readings()}
            except Unreadable:
                found = {}
            if collector in found:
                return found[collector]
            await asyncio.sleep(0.02)


async def test_bars_are_as_old_as_their_newest_message(own_redis: Redisd, bars: Bars) -> None:
    await age_of(bars, "aggr-server")  # nothing was heard yet
    now_ms = time.time_ns() // 1_000_000
    async with Redis(port=own_redis.port) as client:
        await client.publish(CHANNEL, message("aggr-1", now_ms - 7000))
        assert await age_of(bars, "aggr-1") == pytest.approx(7, abs=3)
        own_redis.kill()
        with pytest.raises(Unreadable):
            await bars.readings()
        own_redis.start()
        # Remembered across the outage, and renewed by the next message.
        assert await age_of(bars, "aggr-1") > 6
        async with asyncio.timeout(20):
            while await age_of(bars, "aggr-1") > 6:
                await client.publish(CHANNEL, message("aggr-1", time.time_ns() // 1_000_000))
                await asyncio.sleep(0.05)


async def test_a_subscription_renewed_in_silence_neither_forgets_it_nor_misses_its_end(
    redis: Redis, redis_port: int
) -> None:
    streams = redis_client(Connections(redis_port=redis_port), socket_timeout_s=10.0)
    made, stop = Bars(streams, redis, silent_s=0.1), asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.05)
            if await age_of(made, "aggr-server") > 2.5:
                break
        while {r.subject for r in await made.readings()} != {"aggr-1"}:
            await redis.publish(CHANNEL, message("aggr-1", time.time_ns() // 1_000_000))
            await asyncio.sleep(0.05)
    stop.set()
    await running
    await streams.aclose()


async def test_readings_in_redis_are_those_of_the_last_round_and_go_by_themselves(
    redis: Redis,
) -> None:
    first = Reading(name="feed_down", subject="BYBIT/linear", value=1.0, detail="reset", ts_ms=5)
    second = Reading(name="host_cpu_percent", subject="host", value=40.0, ts_ms=6)
    await publish(redis, [first, second])
    assert await read(redis) == [first, second]
    assert 0 < await redis.ttl(names.READINGS) <= 60
    await publish(redis, [second])
    assert await read(redis) == [second]
    await publish(redis, [])
    assert await read(redis) == []


async def test_every_source_is_read_in_rounds_and_its_readings_are_stored(
    settings: SystemMonitorSettings, checker: Checker, redis: Redis, influx: InfluxClient
) -> None:
    async with Redis(port=settings.redis_port) as streams:
        measured, stop = Sources(settings, redis, streams, influx), asyncio.Event()
        listening = asyncio.create_task(measured.run(stop))
        monitor = Monitor(
            settings, redis, influx, checker, KnownProcesses(), sources=measured.all()
        )
        await monitor.round()
        await monitor.round()
        await monitor.close()
        stop.set()
        await listening
        await measured.close()
    found = {reading.key: reading for reading in await read(redis)}
    blind = {r.subject: r.value for r in found.values() if r.name == "monitor_blind"}
    assert set(blind) == set(SOURCES)
    # oi-tracker is silent, the stand-in for aggr-server and freqtrade has no more than /health, and
    # nobody plays the venues.
    assert {subject for subject, value in blind.items() if value} == {
        "clock", "collector", "freqtrade", "open-interest",
    }  # fmt: skip
    assert {r.name for r in found.values()} <= set(READINGS)
    assert all(time.time() - r.ts_ms / 1000 < 30 for r in found.values())
    stored = await influx.query("SELECT * FROM readings")
    assert {f"{row['name']}:{row['subject']}" for row in stored} == set(found)
    newest = {f"{row['name']}:{row['subject']}": row["value"] for row in stored}
    assert newest == {key: reading.value for key, reading in found.items()}


def await_stop(*pids: int) -> None:
    """Return when the signal has reached every thread: until then a server still answers."""
    deadline = time.monotonic() + 20
    for pid in pids:
        for thread in psutil.Process(pid).threads():
            while psutil.Process(thread.id).status() != psutil.STATUS_STOPPED:
                assert time.monotonic() < deadline
                time.sleep(0.01)


@pytest.mark.alone
async def test_M1_frozen_servers_are_told_in_a_round_that_waits_for_none_of_them(
    own_redis: Redisd, own_influx: Influxd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = Connections(redis_port=own_redis.port, influx_port=own_influx.port)
    settings = monitor_settings(frozen, NO_EXCHANGES, tmp_path)
    redis = redis_client(settings, socket_timeout_s=REDIS_TIMEOUT_S, retries=0)
    streams = redis_client(settings, socket_timeout_s=STREAM_TIMEOUT_S)
    async with InfluxClient(settings) as influx:
        checker = Checker(settings, redis, influx)
        measured = Sources(settings, redis, streams, influx)
        monitor = Monitor(
            settings, redis, influx, checker, KnownProcesses(), sources=measured.all()
        )
        await monitor.round()  # sees both at work
        own_redis.pause()
        own_influx.pause()
        await asyncio.to_thread(await_stop, own_redis.pid, own_influx.pid)
        start = time.monotonic()
        await monitor.round()
        took_s = time.monotonic() - start
        await monitor.close()
        await measured.close()
        await checker.close()
    await redis.aclose()
    await streams.aclose()
    own_redis.resume()
    own_influx.resume()
    told = [r.message for r in caplog.records if "code=service_down" in r.message]
    assert {server for server in ("redis", "aggr-influx") for m in told if server in m} == {
        "redis", "aggr-influx",
    }  # fmt: skip
    assert took_s < 20
