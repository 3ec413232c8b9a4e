"""freqtrade's positions are the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from services.core import names
from services.core.records import Signal
from services.strategy.types import State
from tests.integration.trading.freqtrade_double import FreqtradeDouble, trade
from tests.integration.trading.harness import Runner, Tape, close, eventually, store
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773
BEGIN = 20_000


def runner_of(
    double: FreqtradeDouble, connections: Connections, tape: Tape, folder: Path, **more: Any
) -> Runner:
    return Runner(
        connections,
        tape,
        folder,
        freqtrade_enable_integration=True,
        freqtrade_api_url=double.url,
        freqtrade_api_password="secret",
        **more,
    )


@asynccontextmanager
async def holding(
    double: FreqtradeDouble, connections: Connections, influx: InfluxClient, folder: Path
) -> AsyncIterator[tuple[Runner, Signal]]:
    """A runner in the position that its signal has led to."""
    tape = Tape("S5")
    begin = SIGNAL_AT - 5
    await store(influx, tape, 0, begin)
    async with runner_of(double, connections, tape, folder) as runner:
        await runner.start(begin)
        await eventually(lambda: not runner.app.desk.portfolio.problem)
        await runner.play(begin + 1, SIGNAL_AT + 1)
        signal = await runner.until_shown()
        assert signal is not None
        await runner.fill("opened", signal)
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        yield runner, signal


async def test_D73_an_unknown_open_position_is_adopted_with_its_flow_from_the_database(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S6")
    await store(influx, tape, 0, BEGIN)
    opened_ms = (tape.start + BEGIN - 600) * 1000 + 400
    async with FreqtradeDouble() as double:
        double.opened = [
            trade(open_timestamp=opened_ms, open_fill_timestamp=opened_ms, open_rate=100.0)
        ]
        async with runner_of(double, connections, tape, tmp_path) as runner:
            await runner.start(BEGIN)
            await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
            assert runner.btc.engine.trade_id == 7
            assert runner.btc.engine.direction == -1
            since = sum(
                bar.vbuy - bar.vsell
                for i in range(BEGIN - 599, BEGIN + 1)
                for bar in tape.bars(i)
                if bar.market.endswith("usd")
            )
            position = runner.btc.engine.snapshot()["position"]
            assert close(runner.btc.engine.c_spot - position["c_spot"], since)


async def test_a_position_that_is_gone_ends_with_the_outcome_of_the_trade_history(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    async with (
        FreqtradeDouble() as double,
        holding(double, connections, influx, tmp_path) as (runner, signal),
    ):
        await runner.play(SIGNAL_AT + 1, SIGNAL_AT + 21)
        double.closed = [
            trade(
                trade_id=1,
                is_open=False,
                enter_tag=f"sf:{signal.signal_id}",
                close_timestamp=runner.now_ms,
                close_rate=102.0,
                close_profit=-0.02,
                close_profit_abs=-1.0,
                exit_reason="force_exit",
            )
        ]
        runner.app.reconciler.ask()
        await eventually(lambda: runner.btc.engine.state is State.COOLDOWN)
    (row,) = await influx.query("SELECT outcome, exit_reason, pnl FROM strategy_signals")
    assert (row["outcome"], row["exit_reason"], row["pnl"]) == (
        "unprofitable",
        "force_exit",
        -1.0,
    )


async def test_a_trade_that_a_restored_backup_opens_again_is_adopted_and_ends_again(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    async with (
        FreqtradeDouble() as double,
        holding(double, connections, influx, tmp_path) as (runner, signal),
    ):
        await runner.fill("closed", signal, pnl=-1.0, pnl_ratio=-0.02, reason="force_exit")
        await eventually(lambda: runner.btc.engine.state is State.COOLDOWN)
        again = trade(
            trade_id=1,
            open_timestamp=runner.now_ms,
            open_fill_timestamp=runner.now_ms,
            enter_tag=f"sf:{signal.signal_id}",
        )
        double.opened = [again]
        runner.app.reconciler.ask()
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        await runner.fill("closed", signal, pnl=2.0, pnl_ratio=0.04, reason="force_exit")
        await eventually(lambda: runner.btc.engine.state is State.COOLDOWN)
    (row,) = await influx.query("SELECT outcome, pnl FROM strategy_signals")
    assert (row["outcome"], row["pnl"]) == ("profitable", 2.0)


@pytest.mark.parametrize("status", [503, 401])
async def test_no_entry_while_the_portfolio_is_not_known(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path, status: int
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 5
    await store(influx, tape, 0, begin)
    async with FreqtradeDouble() as double:
        double.status = status
        async with runner_of(double, connections, tape, tmp_path) as runner:
            await runner.start(begin)
            await runner.play(begin + 1, SIGNAL_AT + 3)
            assert runner.btc.engine.state is State.RESET
            assert await runner.shown() is None
    assert await redis.get(names.stat("signals_rejected:RISK_LIMIT")) == b"1"
    assert await influx.query("SELECT * FROM strategy_signals") == []


async def test_fewer_trades_in_freqtrade_than_in_the_strategy_are_told_once(
    connections: Connections, redis: Redis, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    await store(influx, tape, 0, BEGIN)
    async with FreqtradeDouble() as double:
        double.max_open_trades = 2.0
        async with runner_of(double, connections, tape, tmp_path) as runner:
            await runner.start(BEGIN)
            for _ in range(3):
                assert await runner.app.reconciler.once()
    told = [raw for raw in await redis.lrange(names.ALERTS, 0, -1) if b"too_few_slots" in raw]
    assert len(told) == 1
    assert b"SQUEEZEFLOW_MAX_OPEN_POSITIONS" in told[0]
