"""Each service judged by its own work, on real servers."""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core.clients import redis_client
from services.core.settings import SystemMonitorSettings
from services.monitor.checks import Checker
from tests.integration.monitor.support import (
    HEARTBEAT_SERVICES,
    SERVICES,
    Others,
    beat,
    monitor_settings,
)
from tests.integration.servers import RedisServer, free_port


async def test_all_services_doing_their_work_are_healthy(checker: Checker, redis: Redis) -> None:
    for service in HEARTBEAT_SERVICES:
        await beat(redis, service)
    seen = await checker.check_all()
    assert seen.status == "healthy", seen.services
    assert {name: s.state for name, s in seen.services.items()} == dict.fromkeys(SERVICES, "up")
    age_ms = seen.services["freqtrade"].age_ms
    assert age_ms is not None
    assert 500 < age_ms < 10_000


async def test_what_a_service_says_of_itself_is_passed_on(checker: Checker, redis: Redis) -> None:
    await beat(redis, "strategy-runner", details={"warm": True, "coverage": {"BTCUSDT": 1.0}})
    state = await checker.check("strategy-runner")
    assert state.figures == {"warm": True, "coverage": {"BTCUSDT": 1.0}}


async def test_each_fault_is_found_where_it_is(
    checker: Checker, redis: Redis, others: tuple[Others, str]
) -> None:
    others[0].collector_status = 503
    others[0].problems = ["InfluxDB is away", "no feed is live"]
    others[0].last_turn_age_s = 300
    await beat(redis, "oi-tracker", age_s=40)
    await beat(redis, "strategy-runner", status="market data is 12 s old")
    seen = (await checker.check_all()).services
    assert seen["aggr-server"].state == "down"
    assert seen["aggr-server"].detail == "InfluxDB is away; no feed is live"
    assert seen["freqtrade"].state == "down"
    assert "stands still" in seen["freqtrade"].detail
    assert seen["oi-tracker"].state == "down"
    assert "last heartbeat 40 s ago" in seen["oi-tracker"].detail
    assert seen["strategy-runner"].state == "degraded"
    assert seen["strategy-runner"].detail == "market data is 12 s old"
    assert seen["redis"].state == seen["aggr-influx"].state == "up"
    assert all(service.remedy for service in seen.values() if service.state != "up")


async def test_a_collector_without_one_of_its_feeds_is_degraded(
    checker: Checker, others: tuple[Others, str]
) -> None:
    others[0].problems = ["BYBIT is connecting"]
    state = await checker.check("aggr-server")
    assert (state.state, state.detail) == ("degraded", "BYBIT is connecting")


async def test_every_collector_that_has_a_share_of_the_markets_is_watched(
    checker: Checker, redis: Redis
) -> None:
    await beat(redis, "aggr-server", details={"shard": 1, "shards": 3})
    await beat(redis, "aggr-server-2", status="BYBIT is connecting")
    seen = (await checker.check_all()).services
    assert list(seen) == [*SERVICES, "aggr-server-2", "aggr-server-3"]
    assert seen["aggr-server"].state == "up"
    assert (seen["aggr-server-2"].state, seen["aggr-server-2"].detail) == (
        "degraded",
        "BYBIT is connecting",
    )
    assert seen["aggr-server-3"].state == "down"

    # One that is gone is missed all the more.
    await redis.delete("squeezeflow:heartbeat:aggr-server", "squeezeflow:heartbeat:aggr-server-2")
    seen = (await checker.check_all()).services
    assert seen["aggr-server-2"].state == seen["aggr-server-3"].state == "down"

    await beat(redis, "aggr-server", details={"shard": 1, "shards": 1})
    await checker.check_all()
    assert list((await checker.check_all()).services) == list(SERVICES)


async def test_how_long_an_answer_and_a_turn_took_is_told(checker: Checker, redis: Redis) -> None:
    await beat(redis, "oi-tracker")
    seen = (await checker.check_all()).services
    assert seen["oi-tracker"].cycle_ms == 1.5
    assert seen["oi-tracker"].answer_ms is None
    for service in ("redis", "aggr-influx", "aggr-server", "freqtrade"):
        took_ms = seen[service].answer_ms
        assert took_ms is not None
        assert 0 < took_ms < 4000
        assert seen[service].cycle_ms is None
    assert seen["redis"].figures["used_memory"] > 100_000


async def test_a_page_that_nobody_serves_is_told_by_address_and_reason(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    port = free_port()
    settings = monitor_settings(connections, f"http://127.0.0.1:{port}", tmp_path)
    checker = Checker(settings, redis, influx)
    for service in ("aggr-server", "freqtrade"):
        state = await checker.check(service)
        assert (state.state, state.detail) == (
            "down",
            f"cannot connect to 127.0.0.1:{port} (Connection refused)",
        )
    await checker.close()


async def test_a_refused_login_is_named(
    connections: Connections,
    others: tuple[Others, str],
    tmp_path: Path,
    redis: Redis,
    influx: InfluxClient,
) -> None:
    settings = monitor_settings(connections, others[1], tmp_path, password="wrong")
    checker = Checker(settings, redis, influx)
    freqtrade = await checker.check("freqtrade")
    await checker.close()
    assert freqtrade.state == "degraded"
    assert "FREQTRADE_API_PASSWORD" in freqtrade.remedy


async def test_a_missing_password_of_redis_is_named(
    secured_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient
) -> None:
    client = redis_client(Connections(redis_port=secured_redis.port))
    checker = Checker(settings, client, influx)
    state = await checker.check("redis")
    await checker.close()
    await client.aclose()
    assert state.state == "down"
    assert "REDIS_PASSWORD" in state.remedy


async def test_s4_a_redis_whose_memory_is_full_is_degraded(
    own_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient
) -> None:
    client = redis_client(Connections(redis_port=own_redis.port))
    checker = Checker(settings, client, influx)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("maxmemory", "100mb")
    roomy = await checker.check("redis")
    await client.config_set("maxmemory", "3mb")
    for i in range(1000):
        await client.set(f"filler:{i}", b"x" * 4000)
    full = await checker.check("redis")
    await checker.close()
    await client.aclose()
    assert roomy.state == "up"
    assert full.state == "degraded"
    assert "memory of 3 MB is full" in full.detail
    assert "REDIS_MAXMEMORY" in full.remedy


async def test_M1_a_frozen_redis_is_down_and_heartbeats_are_read_from_files(
    own_redis: RedisServer, settings: SystemMonitorSettings, influx: InfluxClient, tmp_path: Path
) -> None:
    (tmp_path / "oi-tracker.alive").touch()
    own_redis.pause()
    frozen = Connections(redis_port=own_redis.port)
    client = redis_client(frozen, socket_timeout_s=0.2)
    checker = Checker(settings, client, influx)
    seen = (await checker.check_all()).services
    await checker.close()
    await client.aclose()
    own_redis.resume()
    assert seen["redis"].state == "down"
    assert (seen["oi-tracker"].state, seen["oi-tracker"].detail) == (
        "degraded",
        "turns, without Redis",
    )
    assert seen["strategy-runner"].state == "degraded"
    assert "not known" in seen["strategy-runner"].detail


async def test_a_missing_database_is_named(
    settings: SystemMonitorSettings, redis: Redis, influx_port: int
) -> None:
    other = SystemMonitorSettings(influx_port=influx_port, influx_database="nothing_here")
    async with InfluxClient(other) as influx:
        checker = Checker(other, redis, influx)
        state = await checker.check("aggr-influx")
        await checker.close()
    assert state.state == "degraded"
    assert "influx_init" in state.remedy
