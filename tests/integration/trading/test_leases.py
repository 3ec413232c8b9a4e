"""One replica decides for a symbol; replicas share the symbols fairly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection

import pytest
from redis.asyncio import Redis

from services.core import names
from services.trading.leases import GUARD_S, LIFE_MS, Leases

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT")


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


async def settle(*replicas: Leases) -> None:
    """Turns until everybody has had a chance to give back and to take."""
    for _ in range(3):
        for replica in replicas:
            await replica.turn()
            await replica.give(sorted(replica.kept)[: replica.surplus])


async def die(redis: Redis, replica: Leases) -> None:
    """What is left in Redis of a replica that was killed `LIFE_MS` ago."""
    await redis.hdel(names.REPLICAS, replica.owner)
    await redis.delete(*(names.lease(symbol) for symbol in replica.kept))


def sizes(*replicas: Leases) -> list[int]:
    assert len(frozenset().union(*(r.kept for r in replicas))) == sum(len(r.kept) for r in replicas)
    return [len(replica.kept) for replica in replicas]


async def test_one_replica_takes_all_in_its_first_turn(redis: Redis) -> None:
    one = Leases(redis, SYMBOLS, "one")
    await one.turn()
    assert one.kept == set(SYMBOLS)
    assert all(one.held(symbol) and one.fence(symbol) > 0 for symbol in SYMBOLS)


async def test_a_replica_that_joins_gets_its_share_and_no_symbol_has_two(redis: Redis) -> None:
    one, two, three = (Leases(redis, SYMBOLS, name) for name in ("one", "two", "three"))
    await one.turn()
    await two.turn()
    assert not two.kept
    await settle(one, two)
    assert sizes(one, two) == [3, 2]
    await settle(one, two, three)
    assert sizes(one, two, three) == [2, 2, 1]


async def test_a_replica_that_is_not_ready_takes_only_what_nobody_else_may(redis: Redis) -> None:
    ready = [False]
    one = Leases(redis, SYMBOLS, "one", limit=4)
    two = Leases(redis, SYMBOLS, "two", ready=lambda: ready[0])
    await settle(one, two)
    assert sizes(one, two) == [4, 1]
    ready[0] = True
    await settle(one, two)
    assert sizes(one, two) == [3, 2]


async def test_D58_symbols_beyond_all_limits_have_no_leader_and_are_named(redis: Redis) -> None:
    one, two = (Leases(redis, SYMBOLS, name, limit=2) for name in ("one", "two"))
    await settle(one, two)
    assert sizes(one, two) == [2, 2]
    assert one.shares.over == 1
    assert one.shares.unled == ("EUSDT",)
    assert (one.shares.first, two.shares.first) == (True, False)


async def test_all_symbols_of_a_dead_replica_are_taken_in_one_turn_with_higher_tokens(
    redis: Redis,
) -> None:
    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    await settle(one, two)
    before = {symbol: one.fence(symbol) for symbol in one.kept}
    await die(redis, one)
    await two.turn()
    assert two.kept == set(SYMBOLS)
    assert all(two.fence(symbol) > token for symbol, token in before.items())


async def lapse(redis: Redis, replica: Leases, ago_ms: int) -> None:
    """As if the replica's last turn had been `LIFE_MS` and `ago_ms` ago."""
    record = json.loads(await redis.hget(names.REPLICAS, replica.owner) or b"")
    now_s, now_us = await redis.time()
    record["till"] = now_s * 1000 + now_us // 1000 - ago_ms
    await redis.hset(names.REPLICAS, replica.owner, json.dumps(record))
    await redis.delete(*(names.lease(symbol) for symbol in replica.kept))


@pytest.mark.parametrize(
    ("one_ready", "two_ready", "ago_ms", "taken"),
    [
        (False, False, 1, 0),
        (False, False, 10_001, 5),
        (True, False, 1, 5),
        (False, True, 1, 5),
    ],
)
async def test_replicas_that_both_still_load_do_not_take_symbols_from_each_other(
    redis: Redis, one_ready: bool, two_ready: bool, ago_ms: int, taken: int
) -> None:
    one = Leases(redis, SYMBOLS, "one", ready=lambda: one_ready)
    two = Leases(redis, SYMBOLS, "two", ready=lambda: two_ready)
    await one.turn()
    await lapse(redis, one, ago_ms)
    await two.turn()
    assert len(two.kept) == taken
    if not taken:
        await one.turn()
        assert one.kept == set(SYMBOLS)


async def test_a_dead_replica_counts_no_longer_when_its_leases_end(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS[:2], "one"), Leases(redis, SYMBOLS[:2], "two")
    await settle(one, two)
    (symbol,) = one.kept
    assert 0 < await redis.pttl(names.lease(symbol)) <= LIFE_MS
    while not two.held(symbol):
        await two.turn()
        await asyncio.sleep(0.05)
    assert two.shares.own == 2


async def test_a_lease_is_given_up_before_redis_lets_it_go_but_kept(redis: Redis) -> None:
    clock = Clock()
    leases = Leases(redis, SYMBOLS[:1], "one", monotonic=clock)
    await leases.turn()
    clock.s = LIFE_MS / 1000 - GUARD_S - 0.001
    assert leases.held("AUSDT")
    clock.s = LIFE_MS / 1000 - GUARD_S
    assert not leases.held("AUSDT")
    assert leases.kept == {"AUSDT"}
    await leases.turn()
    assert leases.held("AUSDT")


async def test_a_replica_that_was_frozen_learns_of_its_loss_and_forgets(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    lost: list[str] = []
    await settle(one, two)
    one.on_lost = lost.append
    mine = one.kept
    await die(redis, one)
    await two.turn()
    await one.turn()
    assert set(lost) == mine
    assert not one.kept
    assert not any(one.held(symbol) for symbol in mine)


async def test_after_an_outage_of_redis_everybody_takes_back_what_it_keeps(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    await settle(one, two)
    mine, theirs = one.kept, two.kept
    await redis.flushall()
    await one.turn()
    assert one.kept == mine
    await two.turn()
    assert two.kept == theirs


async def test_released_leases_are_free_at_once(redis: Redis) -> None:
    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    await settle(one, two)
    await one.release()
    await two.turn()
    assert two.kept == set(SYMBOLS)


async def test_symbols_that_are_warm_here_are_taken_first(redis: Redis) -> None:
    leases = Leases(redis, SYMBOLS, "one", limit=2, warm=lambda s: s in ("BUSDT", "DUSDT"))
    await leases.turn()
    assert leases.kept == {"BUSDT", "DUSDT"}


async def test_what_is_given_back_is_chosen_by_the_caller(redis: Redis) -> None:
    gave = asyncio.Event()

    async def choose(count: int) -> Collection[str]:
        return ["CUSDT", "AUSDT"][:count]

    one, two = Leases(redis, SYMBOLS, "one"), Leases(redis, SYMBOLS, "two")
    await one.turn()
    await two.turn()
    one.on_lost = lambda symbol: gave.set() if symbol == "AUSDT" else None
    running = asyncio.create_task(one.run(choose))
    await asyncio.wait_for(gave.wait(), 10)
    while not two.kept:
        await two.turn()
    running.cancel()
    assert {"AUSDT", "CUSDT"} >= two.kept


@pytest.mark.parametrize("lost", [False, True])
async def test_tokens_grow_even_after_redis_lost_its_data(redis: Redis, lost: bool) -> None:
    leases = Leases(redis, SYMBOLS[:1], "one")
    renumbered: list[str] = []
    leases.on_renumbered = renumbered.append
    await leases.turn()
    before = leases.fence("AUSDT")
    await (redis.flushall() if lost else redis.delete(names.lease("AUSDT")))
    await asyncio.sleep(0.002)
    await leases.turn()
    assert leases.fence("AUSDT") > before
    assert renumbered == ["AUSDT"]
