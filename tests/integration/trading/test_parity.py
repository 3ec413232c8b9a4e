"""Live = backtest: an hour through strategy-runner, then the stored bars through the backtest."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import market_line
from aggr_server.settings import Connections
from services.backtest.result import Costs
from services.backtest.run import Plan, Run
from services.backtest.sources.material import Wanted
from services.backtest.sources.stored import from_influx
from services.core.records import Signal
from services.strategy.params import Params
from services.strategy.types import State
from tests.integration.trading.executor import Executor
from tests.integration.trading.harness import Runner, Tape, eventually, markets, store
from tests.unit.strategy.scenarios import LEAD_S

HOUR_S = 3600
CLOCK = {"timestamp", "ts_ms", "refreshed_ms", "valid_until_ms", "bar_published_ms"}
"""When the service was at it; a backtest is always at the end of the second."""

PLACE = {"fence", "mode", "ttl"}
"""Who decided, and for which purpose."""


class Listener:
    """Notes every signal in the order of their announcement."""

    def __init__(self, outbox: Any) -> None:
        self.signals: list[Signal] = []
        self._announce = outbox.announce
        outbox.announce = self._heard

    def _heard(self, signal: Signal) -> None:
        self.signals.append(signal)
        self._announce(signal)


async def live(
    connections: Connections, redis: Redis, tape: Tape, folder: Path, begin: int
) -> list[Signal]:
    async with Runner(connections, tape, folder) as runner:
        second = begin
        executor = Executor(redis, ["BTCUSDT"], lambda: (tape.start + second) * 1000 + 999)
        await runner.start(begin)
        heard = Listener(runner.app.outbox)
        for second in range(begin + 1, begin + HOUR_S):
            await runner.publish(second)
            await runner.taken(second)
            state = runner.btc.engine.state
            if runner.btc.signal is None or state not in (State.ENTRY_READY, State.CLOSING):
                continue
            await runner.until_shown()
            await executor.turn()
            await eventually(partial(_left, runner, state))
            await runner.until_shown(False)
        return heard.signals


def _left(runner: Runner, state: State) -> bool:
    return runner.btc.engine.state is not state


async def replayed(influx: InfluxClient, folder: Path, from_s: int, to_s: int) -> list[Signal]:
    wanted = Wanted(("BTC",), from_s, to_s, "BINANCE_FUTURES")
    material = await from_influx(influx, wanted, Params(), folder)
    run = Run(
        Plan(
            material.tapes,
            material.execution,
            material.from_s,
            material.to_s,
            costs=Costs(slippage_bp=0.0, fill_delay_s=0),
        )
    )
    heard = Listener(run.desk.outbox)
    run.go()
    return heard.signals


def fields(signal: Signal) -> dict[str, Any]:
    """All but clock, place and the name of the CVD's origin, ids included."""
    values: dict[str, Any] = msgspec.to_builtins(signal)
    for name in CLOCK | PLACE:
        values.pop(name)
    del values["cvd"]["epoch_id"]
    return values


@pytest.mark.parametrize(("scenario", "events"), [("S5", ["ENTRY", "EXIT"]), ("S1", ["ENTRY"])])
async def test_an_hour_recorded_live_gives_the_same_signals_in_a_backtest(
    connections: Connections,
    redis: Redis,
    influx: InfluxClient,
    tmp_path: Path,
    scenario: str,
    events: list[str],
) -> None:
    tape = Tape(scenario)
    begin = (LEAD_S + 880) // 60 * 60
    end = begin + HOUR_S
    await influx.write([market_line(market, tape.start) for market in markets()])
    await store(influx, tape, 0, begin)
    expected = await live(connections, redis, tape, tmp_path, begin)
    await store(influx, tape, begin, end)
    found = await replayed(influx, tmp_path, tape.start + begin, tape.start + end)
    assert [s.event for s in expected] == events
    for backtested, recorded in zip(found, expected, strict=True):
        assert fields(backtested) == fields(recorded)
