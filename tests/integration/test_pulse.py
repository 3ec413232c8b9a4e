from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from services.core import names
from services.core.clients import redis_client
from services.core.records import Heartbeat
from services.core.service import Pulse, heartbeat_file
from services.core.settings import ServiceSettings
from tests.integration.servers import RedisServer


def settings(port: int, folder: Path) -> ServiceSettings:
    return ServiceSettings(redis_port=port, heartbeat_dir=str(folder))


async def test_a_beat_reaches_file_channel_and_key(
    redis_port: int, redis: Redis, tmp_path: Path
) -> None:
    config = settings(redis_port, tmp_path)
    async with redis.pubsub() as listener:
        await listener.subscribe(names.HEARTBEAT_CHANNEL)
        assert await listener.get_message(timeout=5)
        Pulse("demo", config, redis).beat(1.5, status="warming up", details={"symbols": 2})
        message = await listener.get_message(ignore_subscribe_messages=True, timeout=5)
    assert message is not None
    record = msgspec.json.decode(message["data"], type=Heartbeat)
    assert (record.service, record.cycle_ms, record.status) == ("demo", 1.5, "warming up")
    assert await redis.get(names.heartbeat("demo")) == message["data"]
    assert 0 < await redis.ttl(names.heartbeat("demo")) <= names.HEARTBEAT_TTL_S
    assert heartbeat_file(config, "demo").exists()


async def test_a_hanging_redis_does_not_hold_the_work_loop(
    own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pulse, "EVERY_S", 0.0)
    config = settings(own_redis.port, tmp_path)
    async with redis_client(config) as client, client.pubsub() as listener:
        await listener.subscribe(names.HEARTBEAT_CHANNEL)
        assert await listener.get_message(timeout=5)
        own_redis.pause()
        try:
            pulse = Pulse("demo", config, client)
            async with asyncio.timeout(1.0):
                for _ in range(50):
                    pulse.beat(1.0)
                    await asyncio.sleep(0)
        finally:
            own_redis.resume()
        assert await listener.get_message(ignore_subscribe_messages=True, timeout=20)
