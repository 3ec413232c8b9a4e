"""Transactions on a real Redis: all or none, and no answer out of place."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from services.core.transaction import transact
from tests.integration.servers import RedisServer


async def test_answers_come_in_the_order_of_the_commands(redis: Redis) -> None:
    answers = await transact(redis, [("SET", "a", 5), ("INCRBY", "a", 2), ("GET", "a")])
    assert answers == [b"OK", 7, b"7"]
    assert await transact(redis, [("GET", b"a")]) == [b"7"]
    assert await transact(redis, []) == []


async def test_a_refused_command_prevents_all_others(redis: Redis) -> None:
    with pytest.raises(ResponseError):
        await transact(redis, [("SET", "a", 1), ("NONSENSE",), ("SET", "b", 1)])
    assert not await redis.exists("a", "b")
    assert await transact(redis, [("SET", "a", 1), ("GET", "a")]) == [b"OK", b"1"]


async def test_a_failing_command_is_told(redis: Redis) -> None:
    await redis.set("text", "x")
    with pytest.raises(ResponseError, match="not an integer"):
        await transact(redis, [("INCRBY", "text", 1), ("SET", "a", 1)])
    with pytest.raises(ResponseError, match="not an integer"):
        await transact(redis, [("INCRBY", "text", 1)])
    assert await redis.get("a") == b"1"


async def test_after_a_cancelled_one_the_next_gets_its_own_answers(own_redis: RedisServer) -> None:
    async with Redis(port=own_redis.port, max_connections=1) as redis:
        await redis.set("a", "1")
        own_redis.pause()
        waiting = asyncio.create_task(transact(redis, [("INCR", "a"), ("INCR", "a")]))
        await asyncio.wait([waiting], timeout=0.2)
        waiting.cancel()
        await asyncio.wait([waiting])
        own_redis.resume()
        assert await transact(redis, [("ECHO", "mine"), ("ECHO", "too")]) == [b"mine", b"too"]


async def test_a_dead_server_is_told_and_a_new_one_found(own_redis: RedisServer) -> None:
    async with Redis(port=own_redis.port) as redis:
        await transact(redis, [("SET", "a", 1), ("SET", "b", 1)])
        own_redis.kill()
        with pytest.raises(RedisConnectionError):
            await transact(redis, [("SET", "a", 2), ("SET", "b", 2)])
        own_redis.start()
        for _ in range(2):
            try:
                answers = await transact(redis, [("SET", "a", 3), ("GET", "a")])
                break
            except RedisError:
                continue
        assert answers == [b"OK", b"3"]
