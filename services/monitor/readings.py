"""A measured value that rules are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from services.core import names

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEEP_S = 60
"""Readings in Redis that nobody renews go after this long."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: what is measured, with its unit; `subject`: of what, such as a service or a path.

    A value that could not be measured has no reading: absence is never a zero. `detail`: what a
    person should know beyond the number. `remedy`: replaces the rule's own where it is known
    better. `since_s`: for how long it has been so already, where whoever measured it knows.
    `ts_ms`: when it was measured, UTC; 0 until it is told.
    """

    name: str
    subject: str
    value: float
    detail: str = ""
    remedy: str = ""
    since_s: float = 0.0
    ts_ms: int = 0

    @property
    def key(self) -> str:
        """`name:subject`; no name has a colon."""
        return f"{self.name}:{self.subject}"


_decoder = msgspec.json.Decoder(Reading)


async def publish(redis: Redis, readings: Sequence[Reading]) -> None:
    """Replace all readings in Redis. Raises `redis.exceptions.RedisError`."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(names.READINGS)
        if readings:
            pipe.hset(
                names.READINGS,
                mapping={reading.key: msgspec.json.encode(reading) for reading in readings},
            )
            pipe.expire(names.READINGS, KEEP_S)
        await pipe.execute()


async def read(redis: Redis) -> list[Reading]:
    """The readings of the monitor's last round, by name and subject; none while it is silent.

    Raises `redis.exceptions.RedisError`, and `msgspec.MsgspecError` for what is no reading.
    """
    stored = await redis.hgetall(names.READINGS)
    found = [_decoder.decode(value) for value in stored.values()]
    return sorted(found, key=lambda reading: reading.key)
