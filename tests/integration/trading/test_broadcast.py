"""What the strategy sees reaches whoever listens, and costs nothing when nobody does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.outage import Outage
from services.core.views import View, Views
from services.trading.broadcast import APART_S, Broadcast
from services.trading.leases import Leases
from tests.integration.servers import RedisServer
from tests.integration.trading.harness import Runner, Tape, eventually, store
from tests.integration.trading.test_standby import Follower, together
from tests.unit.strategy.scenarios import LEAD_S
from tests.unit.trading.played import SYMBOL, Played

DETECTED_AT = LEAD_S + 1180
GENEROUS_S = 20.0


class Ear:
    """A subscriber of the views."""

    def __init__(self, listener: PubSub) -> None:
        self._listener = listener

    async def message(self) -> Views:
        """The next message."""
        async with asyncio.timeout(GENEROUS_S):
            async for found in self._listener.listen():
                return msgspec.json.decode(found["data"], type=Views)
        raise AssertionError("the subscription has ended")

    async def second(self, t: int) -> View:
        """The first view of second `t` or later."""
        while True:
            (view,) = (await self.message()).views
            if view.t >= t:
                return view


@contextlib.asynccontextmanager
async def listening(redis: Redis) -> AsyncIterator[Ear]:
    async with redis.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe(names.VIEWS)
        yield Ear(listener)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Alone:
    """The broadcast of one symbol in the reset of S3, without the rest of the service."""

    def __init__(self, redis: Redis) -> None:
        self.at = Played("S3")
        self.at.to(self.at.start + LEAD_S + 3_050)
        self.clock = Clock()
        self.leases = Leases(redis, [SYMBOL], "replica-1")
        self.outage = Outage("Redis", "")
        self.broadcast = Broadcast(
            redis, self.at.desk, self.leases, outage=self.outage, monotonic=self.clock
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.leases.turn()
        task = asyncio.create_task(self.broadcast.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def turn(self, *, later_s: float = 1.0) -> None:
        """A turn is written, `later_s` after the one before, and dealt with."""
        self.clock.now += later_s
        self.broadcast.turned()
        await eventually(lambda: self.broadcast.idle)


async def looks(redis: Redis) -> int:
    """How often anybody asked Redis who listens."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_pubsub|numsub", {}).get("calls", 0))


async def test_every_second_is_told_while_somebody_listens(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S1")
    begin = DETECTED_AT - 3
    await store(influx, tape, 0, begin)
    async with Runner(connections, tape, tmp_path) as runner, listening(redis) as ear:
        runner.app.broadcast.apart_s = 0.0
        await runner.start(begin)
        # Until it is loaded it is told as such.
        while (view := await ear.second(tape.start + begin)).state == "WARMUP":
            assert [wait.code for wait in view.waits] == ["loading"]
        found = [view]
        for i in range(begin + 1, begin + 7):
            await runner.publish(i)
            found.append(await ear.second(tape.start + i))
        assert [view.t for view in found] == [tape.start + begin + i for i in range(7)]
        states = [view.state for view in found]
        assert states == ["WATCHING"] * 3 + ["DIVERGENCE"] * 4
        detected = tape.start + DETECTED_AT
        assert [view.since_t for view in found[3:]] == [detected] * 4
        last, engine = found[-1], runner.btc.engine
        assert last.symbol == "BTCUSDT"
        assert (last.c_spot, last.c_perp) == (engine.c_spot, engine.c_perp)
        assert last.price == runner.btc.price
        assert last.setup is not None
        assert last.setup.setup_id == f"BTC:long:{detected}"


async def test_a_replica_that_takes_over_tells_what_the_last_one_told_and_standbys_nothing(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S1")
    begin = DETECTED_AT - 2
    await store(influx, tape, 0, DETECTED_AT + 200)
    first, second = Runner(connections, tape, tmp_path), Follower(connections, tape, tmp_path)
    first.app.broadcast.apart_s = second.app.broadcast.apart_s = 0.0
    await first.start(begin)
    i = await second.join(first, begin + 1)
    async with listening(redis) as ear:
        await together(first, second, i, i + 1)
        message = await ear.message()
        assert message.replica == first.app.leases.owner
        (told,) = message.views
        await first.kill()
        await eventually(lambda: second.btc.live)
        await second.publish(i + 1)
        while (message := await ear.message()).replica != second.app.leases.owner:
            pass
        (view,) = message.views
        assert (
            (view.state, view.since_t)
            == (told.state, told.since_t)
            == (
                "DIVERGENCE",
                tape.start + DETECTED_AT,
            )
        )
        assert view.setup is not None
        assert told.setup is not None
        assert view.setup.setup_id == told.setup.setup_id
        assert view.setup.peak_t is not None
        assert told.setup.peak_t is not None
        # Unless there is a new one since.
        assert view.setup.peak_t == told.setup.peak_t or told.t < view.setup.peak_t <= view.t
    await second.stop()
    await first.close()
    await second.close()


async def test_without_a_listener_nothing_is_told_and_looked_at_once_a_second(
    redis: Redis,
) -> None:
    alone = Alone(redis)
    async with redis.pubsub(ignore_subscribe_messages=True) as overheard:
        await overheard.psubscribe(f"{names.VIEWS}*")  # not a subscriber of the channel itself
        before = await looks(redis)
        async with alone.running():
            for _ in range(30):
                await alone.turn(later_s=0.5)
            assert await looks(redis) - before == 15
        await redis.publish(f"{names.VIEWS}:end", "end")
        async with asyncio.timeout(GENEROUS_S):
            async for message in overheard.listen():
                assert message["data"] == b"end"
                break


async def test_it_begins_with_the_first_listener_and_ends_with_the_last(redis: Redis) -> None:
    alone = Alone(redis)
    async with alone.running():
        await alone.turn()
        assert alone.broadcast.listeners == 0
        async with listening(redis) as ear:
            await alone.turn()
            message = await ear.message()
            assert message.replica == "replica-1"
            assert [view.state for view in message.views] == ["RESET"]
            before = await looks(redis)
            for _ in range(5):
                await alone.turn()
                await ear.message()
            assert await looks(redis) == before
            assert alone.broadcast.listeners == 1
        await eventually(lambda: alone.broadcast.idle)
        while alone.broadcast.listeners:
            await alone.turn()


async def test_messages_keep_their_distance_while_seconds_are_caught_up_on(redis: Redis) -> None:
    alone = Alone(redis)
    async with alone.running(), listening(redis) as ear:
        await alone.turn()
        first = await ear.message()
        for _ in range(4):
            alone.at.step()
            await alone.turn(later_s=APART_S / 4)
        second = await ear.message()
        assert second.views[0].t == first.views[0].t + 4


async def test_a_replica_that_leads_nothing_tells_nothing(redis: Redis) -> None:
    alone = Alone(redis)
    async with listening(redis) as ear, alone.running():
        await alone.leases.release()
        for _ in range(3):
            await alone.turn()
        await alone.leases.turn()
        alone.at.step()
        await alone.turn()
        (view,) = (await ear.message()).views
        assert view.t == alone.at.t


async def test_it_goes_on_when_redis_has_been_away(own_redis: RedisServer) -> None:
    redis = Redis(port=own_redis.port)
    alone = Alone(redis)
    async with alone.running():
        async with listening(redis) as ear:
            await alone.turn()
            await ear.message()
        own_redis.kill()
        await alone.turn()
        assert alone.broadcast.listeners == 0
        own_redis.start()
        async with listening(redis) as ear:
            await alone.turn()
            assert (await ear.message()).views[0].t == alone.at.t
    await redis.aclose()


async def test_a_symbol_that_cannot_be_described_ends_nothing(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Alone(redis)

    def fails(*_: object) -> View:
        raise ZeroDivisionError("a mistake of ours")

    async with listening(redis) as ear, alone.running():
        with monkeypatch.context() as broken:
            broken.setattr("services.trading.broadcast.view_of", fails)
            await alone.turn()
            await alone.turn()
        assert [r.message for r in caplog.records] == [f"symbol not described symbol={SYMBOL}"]
        assert "a mistake of ours" in caplog.text
        await alone.turn()
        (view,) = (await ear.message()).views
        assert view.symbol == SYMBOL
