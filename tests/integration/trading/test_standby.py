"""A replica that only follows a symbol takes it over where the leader left it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Alert
from services.strategy.types import State
from services.trading import app
from services.trading.standby import BEHIND_S
from tests.integration.trading.harness import Runner, Tape, eventually, store
from tests.integration.trading.test_continuity import same
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773


class Follower(Runner):
    """A second replica; the first one publishes the seconds."""

    async def join(self, first: Runner, at: int) -> int:
        """Start beside `first` and follow until it could take over; the next second."""
        self.now_ms = first.now_ms
        self._task = asyncio.create_task(self.app.run(self._stop))
        await eventually(self._subscribed)
        i = at
        while not self.btc.standby:
            i = await together(first, self, i, i + 1)
            await asyncio.sleep(0.02)
        return i


async def together(first: Runner, second: Runner, begin: int, stop: int) -> int:
    """Publish seconds to both and wait until both have taken them in."""
    for i in range(begin, stop):
        second.now_ms = (first.tape.start + i + 1) * 1000 + 200
        await first.publish(i)
        await first.taken(i)
        await second.taken(i)
    return stop


async def test_s10_a_warm_replica_goes_on_as_if_nothing_had_happened_without_the_database(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 120
    await store(influx, tape, 0, SIGNAL_AT)
    first, second = Runner(connections, tape, tmp_path), Follower(connections, tape, tmp_path)
    await first.start(begin)
    i = await second.join(first, begin + 1)
    assert i < SIGNAL_AT - BEHIND_S
    i = await together(first, second, i, SIGNAL_AT + 4)
    signal = await first.until_shown()
    assert signal is not None
    assert second.btc.engine.t == tape.start + i - 1 - BEHIND_S
    assert second.btc.engine.state is State.WARMUP
    expected = first.btc.engine.view()

    await first.kill()
    await second.app.influx.close()  # from here on the database cannot be asked
    await eventually(lambda: second.btc.live)
    assert second.btc.engine.t == tape.start + i - 1
    same(second.btc.engine.view(), expected)
    assert second.btc.signal is not None
    assert second.btc.signal.signal_id == signal.signal_id
    memory = second.app.desk.validator.memory("BTCUSDT")
    assert list(memory.ids) == [signal.signal_id]
    await second.publish(i)
    await second.taken(i)
    shown = await second.until_shown()
    assert shown is not None
    assert shown.signal_id == signal.signal_id
    assert len(await redis.lrange(names.history("BTCUSDT"), 0, -1)) == 1
    await second.stop()
    await first.close()
    await second.close()


@pytest.mark.parametrize("waited_for_ever", [False, True])
async def test_it_says_that_it_is_ready_when_it_could_take_over_or_waiting_is_of_no_use(
    connections: Connections,
    redis: Redis,
    influx: InfluxClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waited_for_ever: bool,
) -> None:
    tape = Tape("S5")
    await store(influx, tape, 0, SIGNAL_AT)
    said = tmp_path / "strategy-runner.ready"
    said.touch()  # by an earlier process
    async with Runner(connections, tape, tmp_path) as runner:
        loaded = False
        monkeypatch.setattr(runner.app.roles, "ready", lambda: loaded)
        await runner.start(SIGNAL_AT - 120)
        assert not said.exists()
        if waited_for_ever:
            monkeypatch.setattr(app, "READY_AT_MOST_S", 0.0)
        else:
            loaded = True
        await eventually(said.exists)


async def test_without_a_usable_state_the_symbol_is_loaded_as_at_a_start(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 300
    await store(influx, tape, 0, SIGNAL_AT)
    first, second = Runner(connections, tape, tmp_path), Follower(connections, tape, tmp_path)
    await first.start(begin)
    i = await second.join(first, begin + 1)
    await first.kill()
    await redis.set(names.state("BTCUSDT"), b"{}")
    await eventually(lambda: second.btc.live)
    assert second.btc.engine.t == tape.start + i - 1
    assert second.btc.engine.state is State.DIVERGENCE
    await second.stop()
    await first.close()
    await second.close()


async def test_symbols_beyond_the_limit_of_all_replicas_are_alarmed(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S6")
    settings: dict[str, Any] = {"aggr_symbols": ("BTC", "ETH"), "squeezeflow_max_symbols": 1}
    async with Runner(connections, tape, tmp_path, **settings) as runner:
        runner.app.roles.unled_after_s = 0.0
        await runner.start(100)
        assert runner.app.leases.kept == {"BTCUSDT"}
        async with redis.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe(names.ALERTS)
            async for message in listener.listen():
                alert = msgspec.json.decode(message["data"], type=Alert)
                break
        assert (alert.level, alert.code) == ("critical", "symbols_not_led")
        assert "ETHUSDT" in alert.text
        assert "SQUEEZEFLOW_MAX_SYMBOLS" in alert.text
