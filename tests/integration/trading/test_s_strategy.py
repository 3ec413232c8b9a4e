"""S2, S7, S8: consumers that die, input that is not whole, and the same input a second time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import Gap
from services.core import names
from services.core.records import Signal
from services.strategy.types import State
from tests.integration.trading.executor import Executor
from tests.integration.trading.harness import Runner, Tape, eventually, live, store
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773
EXIT_AT = LEAD_S + 3239


async def blocked() -> None:
    await asyncio.Event().wait()


async def unacknowledged(redis: Redis, count: int) -> None:
    for _ in range(2000):
        if (await redis.xpending(names.FILLS_STREAM, names.FILLS_GROUP))["pending"] == count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never {count} fills read and not acknowledged")


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
async def test_s2_a_fill_read_by_a_consumer_that_dies_has_one_outcome(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path, rounds: int
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 10
    await store(influx, tape, 0, SIGNAL_AT + 3)
    for _ in range(rounds):
        await redis.flushall()
        await influx.query("DROP MEASUREMENT strategy_signals")
        first = Runner(connections, tape, tmp_path)
        await first.start(begin)
        await first.play(begin + 1, SIGNAL_AT + 1)
        signal = await first.until_shown()
        assert signal is not None
        await _saved(redis, State.ENTRY_READY)
        first.app.outbox.flush = blocked  # type: ignore[method-assign]
        await first.fill("opened", signal)
        await unacknowledged(redis, 1)
        await first.kill()
        await first.close()
        await _leave(redis)

        async with Runner(connections, tape, tmp_path) as again:
            await again.start(SIGNAL_AT + 3)
            await eventually(lambda: again.btc.engine.state is State.IN_POSITION)
            assert again.btc.engine.trade_id == 1
            await unacknowledged(redis, 0)
            await again.until_shown(False)
        rows = await influx.query("SELECT signal_id, trade_id FROM strategy_signals")
        assert [(r["signal_id"], r["trade_id"]) for r in rows] == [(signal.signal_id, 1)]
        baselines = await redis.smembers(names.symbol_baselines("BTCUSDT"))
        assert baselines == {b"1"}


async def _saved(redis: Redis, state: State) -> None:
    for _ in range(2000):
        raw = await redis.get(names.state("BTCUSDT"))
        if raw and msgspec.json.decode(raw)["state"] == str(state):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{state} was not saved")


async def _leave(redis: Redis) -> None:
    """Let the dead one's leases run out."""
    await redis.delete(names.lease("BTCUSDT"))


async def test_s2_a_signal_claimed_by_an_executor_that_dies_is_not_ordered_again(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 10
    async with live(connections, influx, tmp_path, begin) as runner:
        await runner.play(begin + 1, SIGNAL_AT + 1)
        signal = await runner.until_shown()
        assert signal is not None
        claimed = await redis.set(names.executed(signal.signal_id), "1", nx=True)
        assert claimed  # and there it dies

        again = Executor(redis, ["BTCUSDT"], lambda: runner.now_ms)
        for i in range(SIGNAL_AT + 1, SIGNAL_AT + 63):
            await runner.publish(i)
            await runner.taken(i)
            await again.turn()
        assert not again.ordered
        assert runner.btc.engine.state is State.COOLDOWN
        await runner.until_shown(False)
    rows = await influx.query("SELECT outcome, signal_id FROM strategy_signals")
    assert [(r["outcome"], r["signal_id"]) for r in rows] == [("expired", signal.signal_id)]


def gap_of_all(tape: Tape, first: int, stop: int) -> list[Gap]:
    markets = [bar.market for bar in tape.bars(first)]
    return [Gap(market, tape.start + first, tape.start + stop, "disconnect") for market in markets]


async def test_s7_no_entry_while_the_input_has_a_gap(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 40
    async with live(connections, influx, tmp_path, begin) as runner:
        await runner.publish(begin + 1, gaps=gap_of_all(runner.tape, begin + 1, SIGNAL_AT + 20))
        await runner.play(begin + 2, SIGNAL_AT + 20)
        assert runner.btc.last is not None
        assert runner.btc.last.degraded
        assert runner.btc.signal is None
        assert await runner.shown() is None


async def test_s7_no_entry_while_the_bars_are_stale(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 60
    async with live(connections, influx, tmp_path, begin) as runner:
        await runner.play(begin + 1, SIGNAL_AT - 40)
        for i in range(SIGNAL_AT - 40, SIGNAL_AT + 20):
            await runner.publish(i, bars=[])
            await runner.taken(i)
        assert runner.btc.signal is None
        assert await runner.shown() is None


async def test_s7_exits_go_on_while_the_input_has_a_gap(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 10
    await store(influx, tape, 0, begin)
    async with Runner(connections, tape, tmp_path) as runner:
        executor = Executor(redis, ["BTCUSDT"], lambda: runner.now_ms)
        await runner.start(begin)
        i = await runner.play(begin + 1, SIGNAL_AT + 3, until=lambda: runner.btc.signal is not None)
        await runner.until_shown()
        await executor.turn()
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        i = await runner.play(i, EXIT_AT - 20)
        gaps = gap_of_all(tape, EXIT_AT - 20, EXIT_AT + 900)
        await runner.publish(i, gaps=gaps)
        await runner.taken(i)
        await runner.play(i + 1, EXIT_AT + 900, until=lambda: runner.btc.signal is not None)
        assert runner.btc.last is not None
        assert runner.btc.last.degraded
        close = await runner.until_shown()
        assert close is not None
        assert close.action == "CLOSE"


async def test_s8_the_same_seconds_give_the_same_signals_id_for_id(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 20
    await store(influx, tape, 0, begin)
    first = await played(connections, redis, tape, tmp_path, begin)
    await redis.flushall()
    second = await played(connections, redis, tape, tmp_path, begin - 33)
    assert [s["action"] for s in first] == ["CLOSE", "SHORT"]
    assert first == second


async def played(
    connections: Connections, redis: Redis, tape: Tape, folder: Path, begin: int
) -> list[dict[str, Any]]:
    """All signals from `begin` to the exit, without what names the process or its clock."""
    async with Runner(connections, tape, folder) as runner:
        executor = Executor(redis, ["BTCUSDT"], lambda: runner.now_ms)
        await runner.start(begin)
        for i in range(begin + 1, EXIT_AT + 60):
            await runner.publish(i)
            await runner.taken(i)
            if runner.btc.signal is None:
                continue
            await runner.until_shown()
            await executor.turn()
            if executor.closed:
                break
            await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
            await runner.until_shown(False)
    raw = await redis.lrange(names.history("BTCUSDT"), 0, -1)
    return [comparable(msgspec.json.decode(entry, type=Signal)) for entry in raw]


def comparable(signal: Signal) -> dict[str, Any]:
    values = msgspec.to_builtins(signal)
    for name in ("fence", "refreshed_ms"):
        values.pop(name)
    values["cvd"].pop("epoch_id", None)
    return {name: rounded(value) for name, value in values.items()}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value
