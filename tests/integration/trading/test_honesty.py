"""S7: nothing is decided on data that are missing, old or too few; what is fetched later counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import gap_line
from aggr_server.settings import Connections
from aggr_server.wire import Bar, Gap
from services.strategy.types import State
from tests.integration.trading import harness
from tests.integration.trading.harness import Runner, Tape, close, eventually, live, store
from tests.unit.strategy.scenarios import LEAD_S

SIGNAL_AT = LEAD_S + 2773
CALM = 20_000
LARGE = "BINANCE_FUTURES:btcusdt"
"""70 % of the perpetuals' flow: without it the symbol is degraded."""


def without(bars: list[Bar], market: str) -> list[Bar]:
    return [bar for bar in bars if bar.market != market]


async def lose(runner: Runner, first: int, stop: int, market: str = LARGE) -> Gap:
    """Publish [first, stop) with a gap in one market, told each second as a collector does."""
    start = runner.tape.start + first
    for i in range(first, stop):
        gap = Gap(market, start, runner.tape.start + i + 1, "disconnected")
        await runner.publish(i, bars=without(runner.tape.bars(i), market), gaps=[gap])
        await runner.taken(i)
    return Gap(market, start, runner.tape.start + stop, "disconnected")


async def change(runner: Runner, first: int, stop: int) -> tuple[float, float]:
    """What the tape's CVDs change by in [first, stop)."""
    sums = {"spot": 0.0, "perp": 0.0}
    for i in range(first, stop):
        for bar in runner.tape.bars(i):
            sums[harness.SPLIT[bar.market][0]] += bar.vbuy - bar.vsell
    return sums["spot"], sums["perp"]


def of_day(runner: Runner, first: int) -> tuple[float, float]:
    """Change of both CVDs from second `first` to the newest one."""
    window = runner.btc.engine._history.seconds
    at = runner.btc.engine._history.index(runner.tape.start + first)
    return window.latest[0] - window.c_spot[at], window.latest[1] - window.c_perp[at]


async def test_s7_no_entry_while_the_large_market_is_not_known(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    begin = SIGNAL_AT - 60
    async with live(connections, influx, tmp_path, begin) as runner:
        await lose(runner, begin + 1, SIGNAL_AT + 100)
        assert runner.btc.last is not None
        assert runner.btc.last.degraded
        assert runner.btc.signal is None
        assert runner.btc.engine.state is not State.ENTRY_READY
        assert await runner.shown() is None


async def test_s7_a_waiting_signal_is_cancelled_when_data_degrade(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    async with live(connections, influx, tmp_path, SIGNAL_AT - 5) as runner:
        i = await runner.play(SIGNAL_AT - 4, SIGNAL_AT + 30, lambda: bool(runner.btc.signal))
        await lose(runner, i, i + 15)
        assert runner.btc.signal is None
        assert runner.btc.engine.state is State.RESET
        await runner.until_shown(False)


async def test_s7_an_open_position_is_closed_when_data_stay_away(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    async with live(connections, influx, tmp_path, SIGNAL_AT - 5) as runner:
        i = await runner.play(SIGNAL_AT - 4, SIGNAL_AT + 30, lambda: bool(runner.btc.signal))
        signal = runner.btc.signal
        assert signal is not None
        await runner.fill("opened", signal)
        await eventually(lambda: runner.btc.engine.state is State.IN_POSITION)
        await lose(runner, i, i + 590)
        assert runner.btc.engine.state == "IN_POSITION"
        await lose(runner, i + 590, i + 640)
        assert runner.btc.engine.state == "CLOSING"
        assert runner.btc.signal is not None
        assert runner.btc.signal.action == "CLOSE"


async def test_s7_a_gap_lowers_coverage_until_it_is_over(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    async with live(connections, influx, tmp_path, CALM, "S6") as runner:
        await runner.play(CALM + 1, CALM + 5)
        assert runner.btc.aggregator.coverage == pytest.approx(1.0)
        await lose(runner, CALM + 5, CALM + 9)
        assert runner.btc.aggregator.coverage == pytest.approx(0.3, abs=0.05)
        assert runner.btc.engine.state is State.WATCHING
        await lose(runner, CALM + 9, CALM + 20)
        assert runner.btc.aggregator.degraded
        await runner.play(CALM + 20, CALM + 82)
        assert runner.btc.aggregator.coverage == pytest.approx(1.0)
        assert not runner.btc.aggregator.degraded


async def test_p10_a_market_that_joins_or_leaves_adds_only_its_own_deltas(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S6")
    small = "VENUE_B:btc-perp"
    for start in range(0, CALM, 1000):
        lines = [harness.line(bar) for i in range(start, start + 1000)
                 for bar in without(tape.bars(i), small)]  # fmt: skip
        await influx.write(lines, retention_policy="aggr_1s")
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(CALM)
        expected = runner.btc.engine.c_perp

        async def send(i: int, bars: list[Bar]) -> None:
            nonlocal expected
            counted = {n for n, m in runner.btc.aggregator.members.tracks.items() if m.included}
            await runner.publish(i, bars=bars)
            await runner.taken(i)
            counted |= {n for n, m in runner.btc.aggregator.members.tracks.items() if m.included}
            expected += sum(
                bar.vbuy - bar.vsell
                for bar in bars
                if bar.market in counted and harness.SPLIT[bar.market][0] == "perp"
            )
            assert close(runner.btc.engine.c_perp, expected), i

        for i in range(CALM + 1, CALM + 1000):
            await send(i, tape.bars(i))
        assert runner.btc.aggregator.members.tracks[small].included
        for i in range(CALM + 1000, CALM + 1060):
            await send(i, without(tape.bars(i), small))


@pytest.mark.parametrize("over_redis", [True, False])
async def test_s7_what_is_fetched_later_counts_as_if_it_had_never_been_missing(
    connections: Connections,
    redis: Redis,
    influx: InfluxClient,
    tmp_path: Path,
    over_redis: bool,
) -> None:
    async with live(connections, influx, tmp_path, CALM, "S6") as runner:
        gap = await lose(runner, CALM + 1, CALM + 61)
        await store(influx, runner.tape, CALM, CALM + 62)
        await influx.write([gap_line(Gap(gap.market, gap.from_s, gap.from_s, gap.reason))])
        amended: dict[str, Any] = {}
        if over_redis:
            late = [b for i in range(CALM + 1, CALM + 61) for b in runner.tape.bars(i)
                    if b.market == LARGE]  # fmt: skip
            filled = Gap(gap.market, gap.from_s, gap.from_s, gap.reason)
            amended = {"amended": late, "gaps": [filled]}
            await runner.publish(CALM + 61, **amended)
        else:
            runner.skip(1)  # told while nobody listened; found in InfluxDB afterwards
            await store(influx, runner.tape, CALM + 61, CALM + 63)
            await runner.publish(CALM + 62)
        last = CALM + (61 if over_redis else 62)
        await runner.taken(last)
        await eventually(lambda: not runner.btc.live)
        await store(influx, runner.tape, CALM + 61, last + 1)
        await runner.publish(last + 1)
        await eventually(lambda: runner.btc.live)
        spot, perp = of_day(runner, CALM)
        expected = await change(runner, CALM + 1, last + 2)
        assert close(spot, expected[0])
        assert close(perp, expected[1])
        window = runner.btc.engine._history.seconds
        assert window.holes_in(120) == 0
        assert not runner.btc.aggregator.degraded


async def test_s7_a_gap_of_the_past_degrades_after_a_restart_too(
    connections: Connections, influx: InfluxClient, tmp_path: Path
) -> None:
    tape = Tape("S5")
    begin = SIGNAL_AT - 30
    await store(influx, tape, 0, begin)
    gap = Gap(LARGE, tape.start + begin - 400, tape.start + begin - 100, "disconnected")
    await influx.write([gap_line(gap)])
    async with Runner(connections, tape, tmp_path) as runner:
        await runner.start(begin)
        assert runner.btc.engine._history.seconds.holes_in(500) >= 290
        await runner.play(begin + 1, SIGNAL_AT + 60)
        assert runner.btc.signal is None
        assert await runner.shown() is None
