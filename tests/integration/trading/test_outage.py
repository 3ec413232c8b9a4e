"""Redis goes away and comes back, InfluxDB is set up late; the strategy goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services import influx_init
from services.core import names
from services.core.records import Signal
from services.core.settings import InfluxSchemaSettings
from tests.integration.servers import RedisServer
from tests.integration.trading.harness import Runner, Tape, close, eventually, store
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773


async def test_bars_come_from_influx_while_redis_is_away_and_the_signal_goes_out_after(
    connections: Connections, own_redis: RedisServer, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 40
    await store(influx, tape, 0, begin)
    known = msgspec.structs.replace(connections, redis_port=own_redis.port)
    async with Runner(known, tape, tmp_path) as runner:
        await runner.start(begin)
        await runner.play(begin + 1, begin + 11)
        before = runner.btc.engine.c_spot
        own_redis.kill()
        await store(influx, tape, begin, begin + 30)
        runner.now_ms = (tape.start + begin + 33) * 1000
        await runner.taken(begin + 29)
        added = sum(
            bar.vbuy - bar.vsell
            for i in range(begin + 11, begin + 30)
            for bar in tape.bars(i)
            if bar.market.endswith("usd")
        )
        assert close(runner.btc.engine.c_spot - before, added)

        own_redis.start()
        await eventually(lambda: runner.app.leases.held("BTCUSDT"))
        await runner.listening()
        await store(influx, tape, begin + 30, begin + 33)
        runner.skip(19)
        await runner.publish(begin + 33)
        await runner.taken(begin + 33)
        await runner.play(begin + 34, SIGNAL_AT + 1)
        signal = await runner.until_shown()
        assert signal is not None
        async with Redis(port=own_redis.port) as redis:
            (stored,) = await redis.lrange(names.history("BTCUSDT"), 0, -1)
            assert msgspec.json.decode(stored, type=Signal).signal_id == signal.signal_id


async def test_a_database_that_is_set_up_later_is_waited_for(
    connections: Connections, influx: InfluxClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    later = msgspec.structs.replace(connections, influx_database="later")
    settings = InfluxSchemaSettings(influx_port=connections.influx_port, influx_database="later")
    await influx.query('CREATE DATABASE "later"')
    async with Runner(later, Tape("S5"), tmp_path) as runner:
        starting = asyncio.create_task(runner.start(SIGNAL_AT))
        await eventually(lambda: "retention policy not found" in caplog.text)
        assert not runner.btc.live
        with influx_init.connect(settings) as client:
            influx_init.apply_schema(client, settings, report=lambda _: None)
        await starting
        assert runner.btc.live
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
