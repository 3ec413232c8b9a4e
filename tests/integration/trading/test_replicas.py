"""Two strategy-runner processes: whichever dies or freezes, every signal comes once."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core import names
from tests.integration.servers import RedisServer
from tests.integration.trading.stage import (
    BASES,
    SYMBOLS,
    Replica,
    Stage,
    Tape,
    leaders,
    led_by,
    ready,
)
from tests.waiting import eventually

pytestmark = pytest.mark.alone
TAKEOVER_S = 3.0
READY_WITHIN_S = 60.0
HOLD_S = 8
SETTLE_S = 30
"""An entry comes up to 8 s after its nominal second, its exit `HOLD_S` later."""

FROZEN_S = 10
FIRST_SIGNAL_S = 25
REPLACED = 3
UPDATE_S = 90
PAUSE_S = 15


@pytest.fixture
def environment(connection_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {
        **connection_env,
        "AGGR_SYMBOLS": ",".join(BASES),
        "SQUEEZEFLOW_MAX_SYMBOLS": "6",
        "SQUEEZEFLOW_MAX_OPEN_POSITIONS": "6",
        "SQUEEZEFLOW_MAX_HOLD_S": str(HOLD_S),
        "FREQTRADE_ENABLE_INTEGRATION": "false",
        "HEARTBEAT_DIR": str(tmp_path),
    }


@pytest.fixture
def replicas(environment: dict[str, str], tmp_path: Path) -> Iterator[list[Replica]]:
    made = [Replica(environment, tmp_path / f"replica{i}.log") for i in (1, 2)]
    yield made
    for replica in made:
        replica.kill()
        print(replica.tail())


@pytest.fixture
def single(
    environment: dict[str, str], tmp_path: Path, own_redis: RedisServer
) -> Iterator[Replica]:
    """The one process whose signals are the measure, on a Redis of its own."""
    port = {"REDIS_PORT": str(own_redis.port)}
    made = Replica({**environment, **port}, tmp_path / "single.log")
    yield made
    made.kill()
    print(made.tail())


def tapes(rng: random.Random, spread_s: int, first_s: int = FIRST_SIGNAL_S) -> list[Tape]:
    """Six markets whose signals come in `first_s` seconds, at random in a span of `spread_s`."""
    first = int(time.time()) + first_s
    return [Tape(base, rng.choice(("S2", "S5")), first + rng.randrange(spread_s)) for base in BASES]


async def both_ready(redis: Redis, replicas: list[Replica]) -> dict[str, str]:
    """Wait until both replicas could take over and share the symbols; who leads what."""

    async def shared() -> dict[str, str] | None:
        owners = await leaders(redis)
        parts = [led_by(owners, replica.pid) for replica in replicas]
        alive = await ready(redis)
        whole = len(owners) == len(SYMBOLS) and len(alive) == len(replicas)
        return owners if whole and all(len(part) == 3 for part in parts) else None

    found: dict[str, str] = await eventually(shared, READY_WITHIN_S)
    return found


async def kill_one(stage: Stage, redis: Redis, replicas: list[Replica], who: int) -> float:
    """Kill a replica and start it again; seconds until all its symbols are decided for."""
    lost = led_by(await both_ready(redis, replicas), replicas[who].pid)
    stage.started.clear()
    at = time.monotonic()
    replicas[who].kill()

    async def taken() -> bool:
        return lost <= stage.started.keys()

    await eventually(taken, 20.0)
    replicas[who].start()
    return max(stage.started[symbol] for symbol in lost) - at


async def same_as_single(stage: Stage, last: int) -> int:
    """Wait until all is decided; the number of signals, each of which came once."""
    await asyncio.sleep(max(0.0, last - time.time()))
    decided, expected = [await exchange.decisions() for exchange in stage.exchanges]
    told = Counter((d.signal_id, d.event) for d in decided)
    assert {key: count for key, count in told.items() if count > 1} == {}
    assert decided == expected
    return len(expected)


async def play(
    seed: int,
    kills: int,
    spread_s: int,
    redis: Redis,
    influx: InfluxClient,
    own_redis: RedisServer,
    replicas: list[Replica],
    single: Replica,
) -> list[float]:
    """One span of signals with kills in it; how long each take-over took, s."""
    rng = random.Random(seed)
    async with (
        Redis(port=own_redis.port) as other,
        Stage(influx, tapes(rng, spread_s), redis, other) as stage,
    ):
        for process in (*replicas, single):
            process.start()
        took = []
        for _ in range(kills):
            await both_ready(redis, replicas)
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            took.append(await kill_one(stage, redis, replicas, rng.randrange(2)))
        last = max(int(time.time()), stage.last_signal) + SETTLE_S
        signals = await same_as_single(stage, last)
    assert signals >= 6
    print(f"seed={seed} kills={kills} signals={signals} took={[round(s, 2) for s in took]}")
    return took


@pytest.mark.timeout(180)
async def test_no_signal_is_lost_or_doubled_when_replicas_are_killed(
    redis: Redis,
    influx: InfluxClient,
    own_redis: RedisServer,
    replicas: list[Replica],
    single: Replica,
) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed={seed}")
    took = await play(seed, 2, 12, redis, influx, own_redis, replicas, single)
    assert max(took) <= TAKEOVER_S


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_s10_fifty_kills_under_load_lose_and_double_nothing(
    redis: Redis,
    influx: InfluxClient,
    own_redis: RedisServer,
    replicas: list[Replica],
    single: Replica,
) -> None:
    """About 20 minutes: ten spans of about 90 s, each with five kills."""
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed={seed}")
    took: list[float] = []
    for i in range(10):
        took += await play(seed + i, 5, 75, redis, influx, own_redis, replicas, single)
        for process in (*replicas, single):
            process.kill()
        await redis.flushall()
        async with Redis(port=own_redis.port) as other:
            await other.flushall()
        await influx.query("DROP SERIES FROM trades_1s")
    print(f"takeover median={statistics.median(took):.2f} max={max(took):.2f} s")
    assert len(took) == 50
    assert max(took) <= TAKEOVER_S


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_s10_replacing_all_replicas_one_by_one_loses_and_doubles_nothing(
    redis: Redis,
    influx: InfluxClient,
    own_redis: RedisServer,
    environment: dict[str, str],
    single: Replica,
    tmp_path: Path,
) -> None:
    """As an update does: the new one is there and ready before an old one is asked to end."""
    rng = random.Random(seed := random.SystemRandom().randrange(1 << 30))
    print(f"seed={seed}")
    folders = [tmp_path / f"replica{i}" for i in range(2 * REPLACED)]
    made = [
        Replica({**environment, "HEARTBEAT_DIR": str(folder)}, folder.with_suffix(".log"))
        for folder in folders
    ]

    async def said_ready(*which: int) -> None:
        async def said() -> bool:
            return all((folders[i] / "strategy-runner.ready").exists() for i in which)

        await eventually(said, 2 * READY_WITHIN_S)

    async with (
        Redis(port=own_redis.port) as other,
        Stage(influx, tapes(rng, UPDATE_S, first_s=45), redis, other) as stage,
    ):
        try:
            for process in (*made[:REPLACED], single):
                process.start()
            await said_ready(*range(REPLACED))
            replaced = []
            for i in range(REPLACED):
                made[REPLACED + i].start()
                await said_ready(REPLACED + i)
                assert await asyncio.to_thread(made[i].stop) == 0
                replaced.append(int(time.time()))
                await asyncio.sleep(PAUSE_S)
            signals = await same_as_single(stage, max(replaced[-1], stage.last_signal) + SETTLE_S)
        finally:
            for process in made:
                process.kill()
                print(process.tail())
    print(f"signals={signals} replaced={replaced} last={stage.last_signal}")
    assert signals >= len(BASES)
    assert replaced[0] < stage.last_signal


@pytest.mark.timeout(180)
async def test_a_frozen_replica_publishes_nothing_when_it_wakes_up(
    redis: Redis, influx: InfluxClient, replicas: list[Replica]
) -> None:
    rng = random.Random(7)
    async with Stage(influx, tapes(rng, 1, first_s=45), redis) as stage:
        for replica in replicas:
            replica.start()
        frozen, other = replicas
        mine = led_by(await both_ready(redis, replicas), frozen.pid)
        await asyncio.sleep(max(0.0, stage.last_signal - FROZEN_S / 2 - time.time()))
        stage.started.clear()
        frozen.send(signal.SIGSTOP)
        await asyncio.sleep(FROZEN_S)
        assert mine <= stage.started.keys()
        assert led_by(await leaders(redis), other.pid) == set(SYMBOLS)
        frozen.send(signal.SIGCONT)
        await both_ready(redis, replicas)
        await asyncio.sleep(max(0.0, stage.last_signal + SETTLE_S - time.time()))
        told = Counter((d.signal_id, d.event) for d in await stage.exchanges[0].decisions())
        slots = await redis.zrange(names.SLOTS, 0, -1, withscores=True)
    assert sum(event == "ENTRY" for _, event in told) == len(SYMBOLS)
    assert sum(event == "EXIT" for _, event in told) == len(SYMBOLS)
    assert set(told.values()) == {1}
    assert slots == []
