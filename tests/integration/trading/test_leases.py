"""One replica decides for a symbol."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from services.core import names
from services.trading.leases import LIFE_MS, Leases

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


async def test_replicas_that_start_together_share_and_never_overlap(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    for _ in range(4):
        await one.turn()
        await two.turn()
    assert len(one.kept) == len(two.kept) == 2
    assert not one.kept & two.kept
    assert all(one.held(symbol) for symbol in one.kept)


async def test_the_symbols_of_a_dead_replica_are_taken_over_with_a_higher_token(
    redis: Redis,
) -> None:
    one, two = Leases(redis, SYMBOLS[:1], "one"), Leases(redis, SYMBOLS[:1], "two")
    await one.turn()
    await two.turn()
    assert not two.kept
    assert 0 < await redis.pttl(names.lease("AUSDT")) <= LIFE_MS
    await redis.pexpire(names.lease("AUSDT"), 1)
    while await redis.exists(names.lease("AUSDT")):
        pass
    await two.turn()
    assert two.fence("AUSDT") > one.fence("AUSDT")
    await one.turn()
    assert not one.kept
    assert not one.held("AUSDT")


async def test_a_lease_that_is_not_renewed_is_no_longer_held_but_kept(redis: Redis) -> None:
    clock = Clock()
    leases = Leases(redis, SYMBOLS[:1], "one", monotonic=clock)
    await leases.turn()
    clock.s = LIFE_MS / 1000
    assert not leases.held("AUSDT")
    assert leases.kept == {"AUSDT"}
    await leases.turn()
    assert leases.held("AUSDT")


async def test_released_leases_are_free_at_once(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS[:1], "one"), Leases(redis, SYMBOLS[:1], "two")
    await one.turn()
    await one.release()
    await two.turn()
    assert two.held("AUSDT")


@pytest.mark.parametrize("lost", [False, True])
async def test_tokens_grow_even_after_redis_lost_its_data(redis: Redis, lost: bool) -> None:
    leases = Leases(redis, SYMBOLS[:1], "one")
    await leases.turn()
    before = leases.fence("AUSDT")
    await (redis.flushall() if lost else redis.delete(names.lease("AUSDT")))
    await leases.turn()
    assert leases.fence("AUSDT") >= before + (0 if lost else 1)
