"""S1, S3, S4: Redis is killed, stays away, or throws everything out. No signal is lost by it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.strategy.types import State
from services.trading.crew import CANCEL_AGAIN_S
from services.trading.outbox import Outbox
from tests.integration.servers import RedisServer
from tests.integration.trading.executor import Executor
from tests.integration.trading.harness import Runner, Tape, eventually, store
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.test_signal_validator import signal as a_signal

SIGNAL_AT = LEAD_S + 2773
EXIT_AT = LEAD_S + 3239
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
SECOND_S = 0.05


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@contextlib.asynccontextmanager
async def running(executor: Executor) -> AsyncIterator[Executor]:
    task = asyncio.create_task(executor.run())
    try:
        yield executor
    finally:
        await ended(task)


async def ended(*tasks: asyncio.Task[None]) -> None:
    """End tasks. As in the service again and again: a library may lose a cancellation."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S)


async def turning(outbox: Outbox) -> None:
    while True:
        outbox.turn()
        await asyncio.sleep(SECOND_S)


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
async def test_s1_no_signal_is_lost_while_redis_is_killed(
    own_redis: RedisServer, rounds: int
) -> None:
    chance = random.Random(seed := 7)
    print("seed", seed)
    published: list[str] = []
    async with Redis(port=own_redis.port) as mine, Redis(port=own_redis.port) as theirs:
        outbox = Outbox(mine, now_ms=wall_ms)
        executor = Executor(theirs, SYMBOLS, wall_ms, fill=False)
        tasks = [asyncio.create_task(part) for part in (outbox.run(), turning(outbox))]
        async with running(executor):
            for number in range(rounds):
                symbol = SYMBOLS[number % len(SYMBOLS)]
                now_ms = wall_ms()
                signal = a_signal(
                    signal_id=f"id-{number}",
                    setup_id=f"setup-{number}",
                    symbol=symbol,
                    base_symbol=symbol[0],
                    pair=f"{symbol[0]}/USDT:USDT",
                    ts_ms=now_ms,
                    refreshed_ms=now_ms,
                    valid_until_ms=now_ms + 60_000,
                )
                killing = asyncio.create_task(_kill(own_redis, chance))
                await asyncio.sleep(chance.uniform(0, 2 * SECOND_S))
                outbox.announce(signal)
                outbox.show(signal)
                published.append(signal.signal_id)
                await killing
                await eventually(partial(executor.ordered.get, signal.signal_id))
        await ended(*tasks)
    assert dict(executor.ordered) == dict.fromkeys(published, 1)


async def _kill(server: RedisServer, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(0, 2 * SECOND_S))
    server.kill()
    await asyncio.sleep(chance.uniform(0, 2 * SECOND_S))
    await asyncio.to_thread(server.start)


async def test_s1_signals_of_a_frozen_redis_are_told_when_it_thaws(own_redis: RedisServer) -> None:
    async with (
        Redis(port=own_redis.port, socket_timeout=0.3) as mine,
        Redis(port=own_redis.port) as theirs,
    ):
        outbox = Outbox(mine, now_ms=wall_ms)
        executor = Executor(theirs, SYMBOLS[:1], wall_ms, fill=False)
        tasks = [asyncio.create_task(part) for part in (outbox.run(), turning(outbox))]
        async with running(executor):
            own_redis.pause()
            signal = a_signal(
                symbol="AUSDT", base_symbol="A", pair="A/USDT:USDT", valid_until_ms=1 << 62
            )
            outbox.announce(signal)
            outbox.show(signal)
            await eventually(lambda: not outbox.available)
            assert not executor.ordered
            own_redis.resume()
            await eventually(lambda: executor.ordered)
        await ended(*tasks)
    assert executor.ordered == {"id-1": 1}


async def test_s3_nothing_older_than_its_life_is_executed_after_five_minutes_without_redis(
    connections: Connections, own_redis: RedisServer, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin, back = SIGNAL_AT - 20, SIGNAL_AT + 280
    await store(influx, tape, 0, begin)
    known = msgspec.structs.replace(connections, redis_port=own_redis.port)
    async with Runner(known, tape, tmp_path) as runner, Redis(port=own_redis.port) as redis:
        await runner.start(begin)
        await runner.play(begin + 1, SIGNAL_AT + 1)
        waiting = await runner.until_shown()
        assert waiting is not None
        executor = Executor(redis, ["BTCUSDT"], lambda: runner.now_ms)
        own_redis.kill()
        await store(influx, tape, begin, SIGNAL_AT + 5)
        runner.now_ms = (tape.start + SIGNAL_AT + 5 + 3) * 1000
        await runner.taken(SIGNAL_AT + 4)
        assert runner.btc.engine.signal_id == waiting.signal_id

        await store(influx, tape, SIGNAL_AT + 5, back)
        runner.now_ms = (tape.start + back + 3) * 1000
        await runner.taken(back - 1)
        assert runner.btc.engine.state is State.COOLDOWN
        engine = runner.btc.engine
        before = engine.epoch, engine.cooldown_until
        async with running(executor):
            own_redis.start()
            await eventually(lambda: runner.app.outbox.available)
            await eventually(lambda: runner.app.leases.held("BTCUSDT"))
            await runner.listening()
            await _written(redis)
            await executor.turn()
        assert not executor.ordered
        assert await runner.shown() is None
        assert runner.btc.engine is engine
        assert (engine.epoch, engine.cooldown_until) == before
    rows = await influx.query("SELECT outcome, signal_id FROM strategy_signals")
    assert [(r["outcome"], r["signal_id"]) for r in rows] == [("expired", waiting.signal_id)]


async def _written(redis: Redis) -> None:
    for _ in range(2000):
        if await redis.hget(names.STATUS, "BTCUSDT") == b"COOLDOWN":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("what happened meanwhile was not told")


@pytest.fixture
def small_redis(tmp_path_factory: pytest.TempPathFactory) -> RedisServer:
    server = RedisServer(
        tmp_path_factory.mktemp("small-redis"),
        "",
        *("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"),
    )
    server.start()
    return server


async def fill_up(redis: Redis) -> int:
    """Write three times as much as there is room for; how many keys were ever thrown out."""
    for start in range(0, 3000, 100):
        async with redis.pipeline(transaction=False) as pipe:
            for i in range(start, start + 100):
                pipe.set(f"filler:{i}", b"x" * 4000)
            await pipe.execute()
    return int((await redis.info("stats"))["evicted_keys"])


async def fenced(redis: Redis, runner: Runner) -> None:
    """Wait until the runner has its lease again, without which it writes nothing."""
    for _ in range(2000):
        if (token := await redis.get(names.lease_fence("BTCUSDT"))) is not None:
            await eventually(lambda: runner.app.leases.fence("BTCUSDT") == int(token))
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the lease was not taken again")


async def test_s4_a_full_redis_evicts_everything_and_nothing_is_lost(
    connections: Connections, small_redis: RedisServer, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 20
    await store(influx, tape, 0, begin)
    known = msgspec.structs.replace(connections, redis_port=small_redis.port)
    try:
        async with Runner(known, tape, tmp_path) as runner, Redis(port=small_redis.port) as redis:
            executor = Executor(redis, ["BTCUSDT"], lambda: runner.now_ms)
            await runner.start(begin)
            for i in range(begin + 1, EXIT_AT + 60):
                if i % 20 == 0 or SIGNAL_AT <= i <= SIGNAL_AT + 2:
                    assert await fill_up(redis) > 0
                    await fenced(redis, runner)
                await runner.publish(i)
                await runner.taken(i)
                await eventually(lambda: not runner.app.outbox._turned)
                await executor.turn()
                if executor.ordered and not executor.closed:
                    await eventually(lambda: runner.btc.engine.state is not State.ENTRY_READY)
                if executor.closed:
                    break
            assert list(executor.ordered.values()) == [1]
            assert executor.closed == executor.ordered
            await eventually(lambda: runner.btc.engine.state is State.COOLDOWN)
            signal_id = next(iter(executor.ordered))
        rows = await influx.query("SELECT signal_id, outcome FROM strategy_signals")
        assert signal_id in {row["signal_id"] for row in rows}
        assert all(row["outcome"] != "pending" for row in rows)
    finally:
        small_redis.kill()


async def test_s4_what_was_evicted_is_derived_again_after_a_restart(
    connections: Connections, small_redis: RedisServer, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 60
    await store(influx, tape, 0, begin)
    known = msgspec.structs.replace(connections, redis_port=small_redis.port)
    try:
        async with Runner(known, tape, tmp_path) as first, Redis(port=small_redis.port) as redis:
            await first.start(begin)
            await first.play(begin + 1, SIGNAL_AT - 20)
            await first.kill()
            # Of what was used within the same second, chance decides what is thrown out.
            while await redis.exists(names.state("BTCUSDT")):
                assert await fill_up(redis) > 0
            # The collector announces its markets anew; they must not be thrown out again at once.
            await redis.flushall()
        await store(influx, tape, begin, SIGNAL_AT - 10)
        async with Runner(known, tape, tmp_path) as again:
            await again.start(SIGNAL_AT - 10)
            i = await again.play(
                SIGNAL_AT - 9, SIGNAL_AT + 5, until=lambda: again.btc.signal is not None
            )
            assert i - 1 == SIGNAL_AT
    finally:
        small_redis.kill()
