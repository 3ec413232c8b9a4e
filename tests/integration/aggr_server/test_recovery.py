"""What was missed while the collector ran, compared with the venue's own tape."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggr_server import clock
from aggr_server.influx import InfluxClient
from tests.integration.aggr_server.process import (
    MARKET,
    SYMBOL,
    CollectorProcess,
    Listener,
    Watched,
    differing,
    eventually,
    now_s,
    stored,
)
from tests.integration.aggr_server.venue import Venue


class Scene(Watched):
    """In which what was missed is fetched."""

    async def fetched(self, from_s: int, to_s: int) -> None:
        """Wait until nothing of [from_s, to_s) is missing."""
        await self.passed(to_s)
        await eventually(lambda: not self.listener.missing() & set(range(from_s, to_s)))


@asynccontextmanager
async def scene(folder: Path, env: dict[str, str], redis: Redis) -> AsyncIterator[Scene]:
    async with Venue(SYMBOL).running() as venue, Listener().listening(redis) as listener:
        collector = CollectorProcess(venue, folder, env)
        collector.start()
        try:
            yield Scene(venue, collector, listener)
        finally:
            collector.kill()


async def test_c11_resets_every_five_seconds_lose_nothing(
    tmp_path: Path,
    connection_env: dict[str, str],
    redis: Redis,
    influx: InfluxClient,
    fast_clock: str,
) -> None:
    env = {**connection_env, "SIMULATED_CLOCK": fast_clock}
    async with scene(tmp_path, env, redis) as s:
        trading = asyncio.create_task(s.venue.keep_trading(SYMBOL, 10.0, random.Random(11)))
        from_s = await s.collecting()
        connections = s.venue.connections
        begun_s = now_s()
        while now_s() < begun_s + 300:
            await clock.sleep(5)
            s.venue.reset()
        made, took_s = s.venue.connections - connections, now_s() - begun_s
        await s.collecting()
        to_s = now_s()
        await s.fetched(from_s, to_s)
        trading.cancel()
        assert await s.collector.stop() == 0
        bars, gaps = await stored(influx)
        tape = s.venue.bars(MARKET, SYMBOL, from_s, to_s)
        assert differing(tape, bars, range(from_s, to_s)) == []
        assert not gaps & set(range(from_s, to_s))
        assert 5 <= made <= took_s / 1.1, "the venue's own limit is one connection in 1.1 s"


async def test_c15_what_is_fetched_may_overlap_the_stream(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    async with scene(tmp_path, connection_env, redis) as s:
        trading = asyncio.create_task(s.venue.keep_trading(SYMBOL, 50.0, random.Random(15)))
        from_s = await s.collecting()
        for _ in range(3):
            await asyncio.sleep(0.7)
            s.venue.reset()
            await s.collecting()
            # What REST tells of these seconds was received, too, and comes once more.
            for fill in s.venue.tape[-100:]:
                await s.venue.again(fill.id)
        to_s = now_s()
        await s.fetched(from_s, to_s)
        # And once more after the seconds have been rebuilt.
        for fill in s.venue.tape[-500:]:
            await s.venue.again(fill.id)
        trading.cancel()
        end_s = now_s() + 2
        await s.passed(end_s)
        await s.collector.stop()
        bars, gaps = await stored(influx)
        tape = s.venue.bars(MARKET, SYMBOL, from_s, end_s)
        assert differing(tape, bars, range(from_s, end_s)) == []
        assert not gaps & set(range(from_s, to_s))


async def test_rest_that_is_behind_is_asked_again(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    async with scene(tmp_path, connection_env, redis) as s:
        trading = asyncio.create_task(s.venue.keep_trading(SYMBOL, 50.0, random.Random(16)))
        from_s = await s.collecting()
        s.venue.past_lag_ms = 8000
        s.venue.reset()
        broken_s = now_s()
        await s.collecting()
        to_s = now_s()
        asked = s.venue.past_requests
        await eventually(lambda: s.venue.past_requests > asked)
        assert broken_s in s.listener.missing()
        await s.fetched(from_s, to_s)
        trading.cancel()
        await s.collector.stop()
        bars, _ = await stored(influx)
        tape = s.venue.bars(MARKET, SYMBOL, from_s, to_s)
        assert differing(tape, bars, range(from_s, to_s)) == []


@pytest.mark.parametrize("tells_past", [True, False])
async def test_c20_every_second_is_complete_or_inside_a_recorded_gap(
    tmp_path: Path,
    connection_env: dict[str, str],
    redis: Redis,
    influx: InfluxClient,
    fast_clock: str,
    tells_past: bool,
) -> None:
    env = {**connection_env, "SIMULATED_CLOCK": fast_clock}
    async with scene(tmp_path, env, redis) as s:
        s.venue.tells_past = tells_past
        dice = random.Random(20)
        trading = asyncio.create_task(s.venue.keep_trading(SYMBOL, 10.0, dice))
        from_s = await s.collecting()
        begun_s = now_s()
        while now_s() < begun_s + 120:
            await clock.sleep(dice.uniform(1, 20))
            what = dice.randrange(4)
            if what == 0:
                s.venue.reset()
            elif what == 1:
                await s.venue.drop()
            elif what == 2:
                s.collector.kill()
                await clock.sleep(dice.uniform(0, 10))
                s.collector.start()
            else:
                # Traded, but sent to nobody: only the venue's numbering tells.
                await s.venue.trade(SYMBOL, clock.now_ms(), 100.0, 1.0, True, sent=False)
        await s.collecting()
        to_s = now_s()
        await s.passed(to_s + 10)
        if tells_past:
            await s.fetched(from_s, to_s)
        trading.cancel()
        await s.collector.stop()
        bars, gaps = await stored(influx)
        tape = s.venue.bars(MARKET, SYMBOL, from_s, to_s)
        if tells_past:
            assert not gaps & set(range(from_s, to_s))
        wrong = [
            problem
            for second in range(from_s, to_s)
            if second not in gaps
            for problem in differing(tape, bars, range(second, second + 1))
        ]
        assert wrong == []
