"""The collector killed and started again: no second lost, none counted twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggr_server.collector import UNTOLD_S
from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.shards import Shard
from services import influx_init
from services.core.settings import InfluxSchemaSettings
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
from tests.integration.servers import InfluxServer


class Scene(Watched):
    """In which there are trades, compared with the tape from `from_s` on."""

    from_s = 0

    async def collecting(self) -> int:
        """The same; the comparison starts at the first second of the first time."""
        newest = await super().collecting()
        self.from_s = self.from_s or newest
        return newest

    async def nothing_missing(self) -> int:
        """Wait until everything has been fetched; the first second not compared."""
        until_s = now_s()
        await self.passed(until_s)
        await eventually(lambda: not self.listener.missing() & set(range(self.from_s, until_s)))
        return until_s

    def seconds(self) -> list[int]:
        return [message.second for message in self.listener.messages]

    def log(self) -> str:
        return self.collector.log.read_text()


@asynccontextmanager
async def scene(folder: Path, env: dict[str, str], redis: Redis, seed: int) -> AsyncIterator[Scene]:
    venue = Venue(SYMBOL)
    async with venue.running(), Listener().listening(redis) as listener:
        collector = CollectorProcess(venue, folder, env)
        trading = asyncio.create_task(venue.keep_trading(SYMBOL, 30.0, random.Random(seed)))
        try:
            yield Scene(venue, collector, listener)
        finally:
            trading.cancel()
            collector.kill()


async def compare(s: Scene, influx: InfluxClient, to_s: int) -> None:
    """Every second until `to_s` is stored as the tape has it, and none is recorded as a gap."""
    seconds = range(s.from_s, to_s)
    assert await s.collector.stop() == 0, s.log()
    bars, gaps = await stored(influx)
    tape = s.venue.bars(MARKET, SYMBOL, s.from_s, to_s)
    assert differing(tape, bars, seconds) == [], s.log()
    assert not gaps & set(seconds), s.log()
    assert len(s.seconds()) == len(set(s.seconds())), "a second was closed twice"
    assert s.seconds() == sorted(s.seconds())


async def kill_at_random(
    rounds: int,
    seed: int,
    folder: Path,
    env: dict[str, str],
    redis: Redis,
    influx: InfluxClient,
) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    async with scene(folder, env, redis, seed) as s:
        s.collector.start()
        await s.collecting()
        for _ in range(rounds):
            await asyncio.sleep(dice.uniform(0.0, 2.5))
            s.collector.kill()
            await asyncio.sleep(dice.choice((0.0, 0.0, dice.uniform(0.0, 3.0))))
            s.collector.start()
            if dice.random() < 0.7:
                await s.collecting()
        to_s = await s.nothing_missing()
        await compare(s, influx, to_s)


async def test_c5_killed_at_any_time_it_loses_nothing_that_rest_tells(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    await kill_at_random(4, random.randrange(10**6), tmp_path, connection_env, redis, influx)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_c5_killed_a_hundred_times_it_loses_nothing_that_rest_tells(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    await kill_at_random(100, random.randrange(10**6), tmp_path, connection_env, redis, influx)


async def test_c5_without_rest_only_what_nobody_saw_is_missing_and_recorded(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    async with scene(tmp_path, connection_env, redis, 1) as s:
        s.venue.tells_past = False
        s.collector.start()
        await s.collecting()
        await eventually(lambda: s.listener.newest > s.from_s + 3 + UNTOLD_S)
        s.collector.kill()
        killed_s = now_s()
        await asyncio.sleep(2)
        s.collector.start()
        await s.collecting()
        to_s = now_s()
        await eventually(lambda: s.listener.newest >= to_s)
        await s.collector.stop()
        bars, gaps = await stored(influx)
        tape = s.venue.bars(MARKET, SYMBOL, s.from_s, to_s)
        whole = [n for n in range(s.from_s, to_s) if n not in gaps]
        for second in whole:
            assert differing(tape, bars, range(second, second + 1)) == [], s.log()
        assert {killed_s, killed_s + 1} <= gaps
        # What had closed is stored as it was; the newest of it is recorded as uncertain, because a
        # number missing from the market might not have been told yet.
        closed = range(s.from_s, killed_s - 1)
        assert differing(tape, bars, closed) == [], s.log()
        assert min(gaps & set(range(s.from_s, to_s))) >= killed_s - 3 - UNTOLD_S
        assert s.from_s in whole


async def test_a_silence_that_was_not_found_out_before_it_died_is_fetched(
    tmp_path: Path,
    connection_env: dict[str, str],
    redis: Redis,
    influx: InfluxClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(tmp_path, connection_env, redis, 5) as s:
        s.collector.start()
        await s.collecting()
        with monkeypatch.context() as mute:
            mute.setattr(s.venue, "send", lambda _: asyncio.sleep(0))
            muted_s = now_s()
            await s.passed(muted_s + 4)
            s.collector.kill()
        s.collector.start()
        await s.collecting()
        to_s = await s.nothing_missing()
        await compare(s, influx, to_s)


async def test_a_gap_that_was_open_when_it_died_is_fetched_after_two_restarts(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    async with scene(tmp_path, connection_env, redis, 2) as s:
        s.collector.start()
        await s.collecting()
        s.venue.refuses = True
        s.venue.reset()
        broken_s = now_s()
        await eventually(lambda: broken_s in s.listener.missing())
        await eventually(lambda: s.listener.newest > broken_s + 1)
        for _ in range(2):
            s.collector.kill()
            s.collector.start()
            await s.passed(now_s() + 1)
            assert broken_s in s.listener.missing()
        s.venue.refuses = False
        await compare(s, influx, await s.nothing_missing())


async def test_an_unfetched_gap_outlives_a_restart_after_it_is_over(
    tmp_path: Path, connection_env: dict[str, str], redis: Redis, influx: InfluxClient
) -> None:
    async with scene(tmp_path, connection_env, redis, 3) as s:
        s.collector.start()
        await s.collecting()
        s.venue.tells_past = False
        s.venue.reset()
        broken_s = now_s()
        await eventually(lambda: broken_s in s.listener.missing())
        await s.collecting()
        s.collector.kill()
        s.venue.tells_past = True
        s.collector.start()
        await compare(s, influx, await s.nothing_missing())


@pytest.fixture
def frail_influx(own_influx: InfluxServer) -> Connections:
    settings = InfluxSchemaSettings(influx_port=own_influx.port)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    return Connections(influx_port=own_influx.port)


async def test_killed_while_influxdb_is_away_it_loses_nothing(
    tmp_path: Path,
    connection_env: dict[str, str],
    redis: Redis,
    own_influx: InfluxServer,
    frail_influx: Connections,
) -> None:
    env = {
        **connection_env,
        "INFLUX_PORT": str(frail_influx.influx_port),
        "INFLUX_DATABASE": frail_influx.influx_database,
    }
    async with scene(tmp_path, env, redis, 4) as s, InfluxClient(frail_influx) as influx:
        s.collector.start()
        await s.collecting()
        own_influx.kill()
        await asyncio.sleep(1)
        s.collector.kill()
        s.collector.start()
        to_s = await s.nothing_missing()
        own_influx.start()
        await eventually(lambda: "influxdb reached" in s.log().rpartition("started")[2])
        await compare(s, influx, to_s)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_market_that_goes_to_another_collector_has_no_hole(
    tmp_path: Path,
    connection_env: dict[str, str],
    redis: Redis,
    influx: InfluxClient,
    killed: bool,
) -> None:
    """Their number has changed: one lets go of a market before the other takes it."""
    has, has_not = sorted((Shard(1, 2), Shard(2, 2)), key=lambda part: not part.holds(MARKET))
    less = next(part for n in range(3, 99) if not (part := Shard(has.index, n)).holds(MARKET))
    (tmp_path / "other").mkdir()
    async with scene(tmp_path, {**connection_env, **named(has)}, redis, 1) as s:
        other = CollectorProcess(s.venue, tmp_path / "other", {**connection_env, **named(has_not)})
        smaller = CollectorProcess(s.venue, tmp_path, {**connection_env, **named(less)})
        # On the files that it has had as the part without the market.
        folder = str(has_not.folder(tmp_path / "other" / "data"))
        env = {**connection_env, "AGGR_SHARD": "1/1", "AGGR_DATA_DIR": folder}
        larger = CollectorProcess(s.venue, tmp_path / "other", env)
        try:
            other.start()
            s.collector.start()
            await s.collecting()
            await s.passed(s.from_s + 3)
            other.kill()
            if killed:
                s.collector.kill()
            else:
                await s.collector.stop()
            smaller.start()
            await asyncio.sleep(3)
            s.collector = larger
            s.collector.start()
            await s.collecting()
            to_s = await s.nothing_missing()
            assert await larger.stop() == 0
            bars, gaps = await stored(influx)
        finally:
            other.kill()
            smaller.kill()
        seconds = range(s.from_s, to_s)
        tape = s.venue.bars(MARKET, SYMBOL, s.from_s, to_s)
        assert differing(tape, bars, seconds) == [], s.log()
        assert not gaps & set(seconds), s.log()


def named(shard: Shard) -> dict[str, str]:
    return {"AGGR_SHARD": f"{shard.index}/{shard.count}"}
