"""Listening to Redis goes on whatever happens to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from services.core import channels
from services.core.channels import Channels
from services.core.outage import Outage
from tests.integration.servers import RedisServer

WAIT_S = 30.0


class Ear:
    """What is heard on two channels, and what is told of the subscription."""

    def __init__(self, port: int) -> None:
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self._redis: Redis = Redis(port=port)
        self.channels = Channels(
            self._redis,
            {"a": lambda data: self._told("a", data), "b": lambda data: self._told("b", data)},
            Outage("Redis", ""),
            lambda: self.events.put_nowait("subscribed"),
            lambda: self.events.put_nowait("lost"),
        )

    async def next(self) -> str:
        """The next thing that happens."""
        async with asyncio.timeout(WAIT_S):
            return await self.events.get()

    def _told(self, channel: str, data: bytes) -> None:
        self.events.put_nowait(f"{channel}: {data.decode()}")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While it is open."""
        task = asyncio.create_task(self.channels.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._redis.aclose()


async def publish(port: int, channel: str, text: str) -> None:
    async with Redis(port=port) as client:
        await client.publish(channel, text)


async def test_each_message_goes_to_the_handler_of_its_channel(redis_port: int) -> None:
    ear = Ear(redis_port)
    async with ear.listening():
        assert await ear.next() == "subscribed"
        assert ear.channels.subscribed
        await publish(redis_port, "b", "one")
        await publish(redis_port, "a", "two")
        assert [await ear.next(), await ear.next()] == ["b: one", "a: two"]
    assert not ear.channels.subscribed
    assert ear.events.empty()


async def test_a_restart_of_redis_is_told_once_and_listening_begins_anew(
    own_redis: RedisServer,
) -> None:
    ear = Ear(own_redis.port)
    async with ear.listening():
        assert await ear.next() == "subscribed"
        own_redis.kill()
        assert await ear.next() == "lost"
        assert not ear.channels.subscribed
        own_redis.start()
        assert await ear.next() == "subscribed"
        await publish(own_redis.port, "a", "again")
        assert await ear.next() == "a: again"


async def test_a_redis_that_no_longer_answers_is_given_up(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PING_AFTER_S", 0.1)
    ear = Ear(own_redis.port)
    async with ear.listening():
        assert await ear.next() == "subscribed"
        await asyncio.sleep(0.5)
        assert ear.channels.subscribed  # it answers pings
        own_redis.pause()
        try:
            assert await ear.next() == "lost"
        finally:
            own_redis.resume()
        assert await ear.next() == "subscribed"
