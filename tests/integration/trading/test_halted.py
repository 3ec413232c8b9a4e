"""strategy-runner publishes no entry while the kill switch is on, and every exit."""

from __future__ import annotations

from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.outage import Outage
from services.core.records import Halt
from services.strategy.types import State
from services.trading.halted import HaltWatch
from services.trading.portfolio import Portfolio
from tests.integration.trading.harness import Runner, Tape, eventually, live, store
from tests.integration.trading.test_signal_path import EXIT_AT, SIGNAL_AT

ON = Halt(halted=True, ts_ms=1_800_000_000_000, by="me@here", reason="news")
OFF = Halt(halted=False, ts_ms=1_800_000_000_001)


async def throw(redis: Redis, record: Halt) -> None:
    """Set the switch."""
    await redis.set(names.HALT, msgspec.json.encode(record))


async def test_watch_follows_the_switch_and_remembers_it(redis: Redis) -> None:
    portfolio = Portfolio(integrated=False, now_ms=lambda: 0)
    watch = HaltWatch(redis, portfolio, Outage("Redis", ""))
    await watch.once()
    assert portfolio.blocked == ""
    await throw(redis, ON)
    await watch.once()
    assert portfolio.blocked == "halted by me@here: news"
    await redis.flushall()
    await watch.once()
    assert portfolio.blocked == "halted by me@here: news"
    await throw(redis, OFF)
    await watch.once()
    assert portfolio.blocked == ""


async def test_X9_no_entry_is_published_while_halted(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 10
    await store(influx, tape, 0, begin)
    await throw(redis, ON)
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(begin)
        await eventually(lambda: runner.app.desk.portfolio.halted)
        await runner.play(begin + 1, SIGNAL_AT + 5)
        assert runner.app.cycle._status(0.0) == "halted by me@here: news"
        details = runner.app.cycle._details()
        assert (details["entries_allowed"], details["halted"]) == (False, "halted by me@here: news")
    assert await redis.lrange(names.history("BTCUSDT"), 0, -1) == []
    rejected = await redis.get(names.stat("signals_rejected:RISK_LIMIT"))
    assert rejected is not None
    assert int(rejected) >= 1


async def test_X9_exits_are_published_while_halted(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 10
    async with live(connections, influx, tmp_path, begin) as runner:
        i = await runner.play(
            begin + 1, SIGNAL_AT + 60, until=lambda: runner.btc.signal is not None
        )
        signal = await runner.until_shown()
        assert signal is not None
        await runner.fill("opened", signal)
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        await runner.until_shown(False)
        await throw(redis, ON)
        await eventually(lambda: runner.app.desk.portfolio.halted)
        await runner.play(i, EXIT_AT + 60, until=lambda: runner.btc.signal is not None)
        close = await runner.until_shown()
        assert close is not None
        assert (close.action, close.parent_signal_id) == ("CLOSE", signal.signal_id)
