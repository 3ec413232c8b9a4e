"""Restarts, lost messages and absent servers leave the strategy where it would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.strategy.types import State
from services.trading.outbox import ROUTINE_TURNS
from tests.integration.trading.harness import Runner, Tape, close, eventually, live, store
from tests.unit.strategy.scenarios import LEAD_S

RESET_AT = LEAD_S + 2768
SIGNAL_AT = LEAD_S + 2773
EPOCH = {"c_spot", "c_perp", "epoch", "spot_cvd", "perp_cvd", "epoch_id"}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested values by path, without those that depend on where the CVD began."""
    if isinstance(value, dict):
        inner = [flat(v, f"{path}.{k}") for k, v in value.items() if k not in EPOCH]
        return {k: v for part in inner for k, v in part.items()}
    return {path: value}


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Fail unless two views agree but for the order of additions."""
    first, second = flat(a), flat(b)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, float) and isinstance(second[key], float):
            assert value == pytest.approx(second[key], rel=1e-6, abs=1e-6), key
        else:
            assert value == second[key], key


@pytest.mark.parametrize("snapshot", [False, True])
async def test_restart_equals_an_uninterrupted_run(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path, snapshot: bool
) -> None:
    tape = Tape("S1")
    begin = LEAD_S + 2350
    await store(influx, tape, 0, begin)
    async with Runner(connections, tape, tmp_path) as straight:
        await straight.start(begin)
        await straight.play(begin + 1, begin + 101)
        expected = straight.btc.engine.view()
        assert straight.btc.engine.state is State.DIVERGENCE
    await redis.flushall()

    first = Runner(connections, tape, tmp_path)
    await first.start(begin)
    await first.play(begin + 1, begin + 41)
    await (first.stop() if snapshot else first.kill())
    if not snapshot:
        await redis.flushall()
    await store(influx, tape, begin, begin + 60)
    async with Runner(connections, tape, tmp_path) as again:
        await again.start(begin + 60)
        await again.play(begin + 61, begin + 101)
        same(again.btc.engine.view(), expected)
    await first.close()


async def test_cvd_goes_on_after_a_restart(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S6")
    begin = 20_000
    await store(influx, tape, 0, begin)
    async with Runner(connections, tape, tmp_path) as first:
        await first.start(begin)
        await first.play(begin + 1, begin + 10)
        epoch, spot = first.btc.engine.epoch, first.btc.engine.c_spot
    await redis.delete(names.state("BTCUSDT"))
    await store(influx, tape, begin, begin + 12)
    async with Runner(connections, tape, tmp_path) as again:
        await again.start(begin + 12)
        added = sum(
            bar.vbuy - bar.vsell
            for i in range(begin + 10, begin + 13)
            for bar in tape.bars(i)
            if "usd" in bar.market and "usdt" not in bar.market
        )
        assert again.btc.engine.epoch == epoch
        assert close(again.btc.engine.c_spot, spot + added)


async def test_lost_messages_are_read_back_in_their_place(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S6")
    begin = 20_000
    await store(influx, tape, 0, begin + 10)
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(begin)
        await runner.play(begin + 1, begin + 5)
        before = runner.btc.engine.c_perp
        runner.skip(4)
        await runner.publish(begin + 9)
        await runner.taken(begin + 9)
        perps = [
            bar
            for i in range(begin + 5, begin + 10)
            for bar in tape.bars(i)
            if bar.market.endswith(("usdt", "perp"))
        ]
        assert close(runner.btc.engine.c_perp - before, sum(bar.vbuy - bar.vsell for bar in perps))
        assert runner.btc.last is not None
        assert not runner.btc.last.degraded


async def test_entry_of_the_past_is_not_published(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    async with live(connections, influx, tmp_path, SIGNAL_AT + 40) as runner:
        assert runner.btc.engine.state is State.COOLDOWN
        assert await runner.shown() is None
        assert await redis.lrange(names.history("BTCUSDT"), 0, -1) == []


async def test_waiting_signal_survives_a_crash_and_expires_once(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 10
    await store(influx, tape, 0, begin)
    first = Runner(connections, tape, tmp_path)
    await first.start(begin)
    await first.play(begin + 1, SIGNAL_AT + 2)
    signal = await first.until_shown()
    assert signal is not None
    await first.kill()
    await first.close()
    await redis.delete(names.signal("BTCUSDT"), names.lease("BTCUSDT"))
    await store(influx, tape, begin, SIGNAL_AT + 8)
    async with Runner(connections, tape, tmp_path) as again:
        await again.start(SIGNAL_AT + 8)
        shown = await again.until_shown()
        assert shown is not None
        assert shown.signal_id == signal.signal_id
        await again.play(SIGNAL_AT + 9, SIGNAL_AT + 63)
        assert again.btc.engine.state is State.COOLDOWN
        await again.until_shown(False)
    rows = await influx.query("SELECT outcome, signal_id FROM strategy_signals")
    assert [(r["outcome"], r["signal_id"]) for r in rows] == [("expired", signal.signal_id)]


async def test_without_influx_and_too_little_history_it_waits_and_says_so(
    connections: Connections,
    influx: InfluxClient,
    redis: Redis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tape = Tape("S6")
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(100)
        await runner.play(101, 110)
        assert runner.btc.engine.state is State.WARMUP
        assert "too little history" in caplog.text
        await eventually(lambda: runner.app.outbox.available)
        assert await redis.get(names.LAST_ACTIVITY)


@pytest.mark.parametrize("known", [True, False])
async def test_a_slot_is_freed_after_a_restart_if_the_state_says_that_none_is_taken(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path, known: bool
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 60
    await store(influx, tape, 0, begin + 10)
    async with Runner(connections, tape, tmp_path) as first:
        await first.start(begin)
        await first.play(begin + 1, begin + 5)
    if not known:
        await redis.delete(names.state("BTCUSDT"))
    await redis.zadd(names.SLOTS, {"BTCUSDT": (tape.start + begin + 100) * 1000})
    async with Runner(connections, tape, tmp_path) as again:
        await again.start(begin + 10)
        assert again.btc.engine.state is State.DIVERGENCE
        await again.play(begin + 11, begin + 11 + 2 * ROUTINE_TURNS)
        await eventually(lambda: not again.app.outbox._turned)
    assert bool(await redis.zcard(names.SLOTS)) is not known
