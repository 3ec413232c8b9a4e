"""The fills stream: applied once, acknowledged when recorded, taken over from the dead."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.outage import Outage
from services.core.records import Fill
from services.strategy.types import State
from services.trading.fills import FillBook, FillsConsumer
from services.trading.leases import Leases
from tests.integration.trading.harness import eventually, live
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773


async def acknowledged(redis: Redis) -> None:
    while (await redis.xpending(names.FILLS_STREAM, names.FILLS_GROUP))["pending"]:
        pass


async def test_a_refused_order_cancels_the_signal(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 5
    async with live(connections, influx, tmp_path, begin) as runner:
        await runner.play(begin + 1, SIGNAL_AT + 1)
        signal = await runner.until_shown()
        assert signal is not None
        await runner.fill("rejected", signal, trade_id=None, reason="deviation")
        await eventually(lambda: runner.btc.engine.state is State.RESET)
        await runner.until_shown(False)
        await acknowledged(redis)
    (row,) = await influx.query("SELECT outcome, exit_reason FROM strategy_signals")
    assert (row["outcome"], row["exit_reason"]) == ("cancelled", "deviation")


class Book(FillBook):
    """Notes what it is given."""

    def __init__(self, ready: bool = True) -> None:
        self.ready = ready
        self.applied: list[str] = []

    def apply(self, fill: Fill) -> bool:
        if self.ready:
            self.applied.append(fill.signal_id)
        return self.ready


async def send(redis: Redis, signal_id: str, symbol: str = "AUSDT") -> None:
    fill = Fill(event="opened", signal_id=signal_id, symbol=symbol, pair="", side="long", ts_ms=0)
    await redis.xadd(names.FILLS_STREAM, {"data": msgspec.json.encode(fill)})


@pytest.fixture
async def leases(redis: Redis) -> Leases:
    found = Leases(redis, ["AUSDT"], "me")
    await found.turn()
    return found


async def turn(consumer: FillsConsumer) -> None:
    await consumer._take_over()
    await consumer._read()


async def test_what_a_dead_consumer_read_is_taken_over(redis: Redis, leases: Leases) -> None:
    book = Book()
    consumer = FillsConsumer(redis, book, leases, "me", Outage("Redis", ""))
    await consumer._ensure_group()
    await send(redis, "lost")
    await redis.xreadgroup(names.FILLS_GROUP, "dead", {names.FILLS_STREAM: ">"})
    await send(redis, "new")
    while len(book.applied) < 2:
        await turn(consumer)
    assert sorted(book.applied) == ["lost", "new"]
    await acknowledged(redis)


async def test_a_fill_waits_until_its_symbol_is_followed(redis: Redis, leases: Leases) -> None:
    book = Book(ready=False)
    consumer = FillsConsumer(redis, book, leases, "me", Outage("Redis", ""))
    await consumer._ensure_group()
    await send(redis, "early")
    await turn(consumer)
    book.ready = True
    while not book.applied:
        await consumer._take_over()
    assert book.applied == ["early"]


async def test_fills_of_another_replica_are_left_to_it(redis: Redis, leases: Leases) -> None:
    book = Book()
    consumer = FillsConsumer(redis, book, leases, "me", Outage("Redis", ""))
    await consumer._ensure_group()
    await send(redis, "theirs", "BUSDT")
    await send(redis, "mine")
    await turn(consumer)
    assert book.applied == ["mine"]
    assert (await redis.xpending(names.FILLS_STREAM, names.FILLS_GROUP))["pending"] == 1


async def test_an_entry_that_cannot_be_read_does_not_stop_the_others(
    redis: Redis, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    consumer = FillsConsumer(redis, book, leases, "me", Outage("Redis", ""))
    await consumer._ensure_group()
    await redis.xadd(names.FILLS_STREAM, {"data": "nonsense"})
    await send(redis, "good")
    await turn(consumer)
    assert book.applied == ["good"]
    assert "not readable" in caplog.text
    await acknowledged(redis)
