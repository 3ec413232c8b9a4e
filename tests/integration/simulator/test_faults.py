"""Faults as a client on a real socket meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import WSMsgType

from aggr_server import clock
from services.simulator.fault_plan import (
    ClockOffset,
    Close,
    Fault,
    FaultPlan,
    Hang,
    Huge,
    Leave,
    Refuse,
    Reset,
    RestLag,
    Slow,
    Status,
)
from services.simulator.pulses import Pulses

from .conftest import WAIT_S, Simulation

SPOT = "stream.binance.com/ws/btcusdt@trade"
REST = "api.binance.com/api/v3/aggTrades"


@pytest.fixture
async def pulsing(simulation: Simulation) -> AsyncIterator[Simulation]:
    task = asyncio.create_task(Pulses(simulation.hub, simulation.venues, simulation.faults).run())
    yield simulation
    task.cancel()


def put(simulation: Simulation, *faults: Fault) -> None:
    simulation.faults.put(FaultPlan(faults))


async def test_a_reset_is_no_closing_handshake(pulsing: Simulation) -> None:
    here = await pulsing.connect(SPOT)
    other = await pulsing.connect("ws.okx.com/ws/v5/public")
    put(pulsing, Reset(venues=("BINANCE",)))
    message = await asyncio.wait_for(here.socket.receive(), WAIT_S)
    assert message.type in (WSMsgType.ERROR, WSMsgType.CLOSED)
    assert here.socket.close_code == 1006
    await other.send("ping")
    assert await other.text() == "pong"


async def test_resets_come_again_and_again(pulsing: Simulation) -> None:
    put(pulsing, Reset(every_s=0.2))
    for _ in range(3):
        socket = await pulsing.connect(SPOT)
        await asyncio.wait_for(socket.socket.receive(), WAIT_S)
        assert socket.socket.close_code == 1006


async def test_a_clean_close_comes_after_everything_that_was_sent(pulsing: Simulation) -> None:
    socket = await pulsing.connect(SPOT)
    made = [t for t in await pulsing.trade() if t.instrument.market == "BINANCE:btcusdt"]
    put(pulsing, Close(code=1012))
    await socket.receive_all(len(made))
    message = await asyncio.wait_for(socket.socket.receive(), WAIT_S)
    assert message.type is WSMsgType.CLOSE
    assert socket.socket.close_code == 1012


async def test_a_venue_says_that_it_leaves(pulsing: Simulation) -> None:
    socket = await pulsing.connect("stream.binance.com/ws")
    put(pulsing, Leave(venues=("BINANCE",), notice_s=0.1))
    assert (await socket.receive())["event"]["e"] == "serverShutdown"
    message = await asyncio.wait_for(socket.socket.receive(), WAIT_S)
    assert message.type is WSMsgType.CLOSE


async def test_a_status_reaches_sockets_and_rest(simulation: Simulation) -> None:
    put(simulation, Status(venues=("BINANCE",), status=429, retry_after_s=17))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await simulation.connect(SPOT)
    assert refused.value.status == 429
    async with simulation.session.get(simulation.url(REST)) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "17")
    assert await simulation.get("fapi.binance.com/fapi/v1/ping") == {}
    assert (await simulation.get("control/status"))["seed"] == 1


async def test_a_refusing_venue_cuts_connections(simulation: Simulation) -> None:
    put(simulation, Refuse(venues=("BINANCE",)))
    with pytest.raises(aiohttp.ClientConnectionError):
        await simulation.connect(SPOT)
    with pytest.raises(aiohttp.ClientConnectionError):
        await simulation.get(REST)


async def test_a_hanging_venue_never_answers(simulation: Simulation) -> None:
    put(simulation, Hang(venues=("BINANCE",)))
    for asking in (simulation.connect(SPOT), simulation.get(REST)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asking
    put(simulation)


async def test_rest_may_lag_behind_the_socket(simulation: Simulation) -> None:
    made = [t for t in await simulation.trade(195) if t.instrument.market == "BINANCE:btcusdt"]
    put(simulation, RestLag(venues=("BINANCE",), lag_ms=100_000))
    rows = await simulation.get(REST, symbol="BTCUSDT", limit=1)
    known = [t for t in made if t.ts_ms <= clock.now_ms() - 100_000]
    assert rows[0]["a"] == pytest.approx(known[-1].id, abs=60)
    assert rows[0]["a"] < made[-1].id


async def test_a_venues_clock_may_be_wrong(simulation: Simulation) -> None:
    put(simulation, ClockOffset(venues=("BINANCE",), offset_ms=-5000))
    told = (await simulation.get("api.binance.com/api/v3/time"))["serverTime"]
    assert told == pytest.approx(clock.now_ms() - 5000, abs=1000)
    right = (await simulation.get("fapi.binance.com/fapi/v1/time"))["serverTime"]
    assert right == pytest.approx(clock.now_ms(), abs=1000)


async def test_frames_may_be_late_and_huge(simulation: Simulation) -> None:
    socket = await simulation.connect(SPOT)
    put(simulation, Slow(latency_ms=300), Huge(size_bytes=1_000_000))
    began = clock.monotonic()
    made = [t for t in await simulation.trade() if t.instrument.market == "BINANCE:btcusdt"]
    text = await socket.text()
    assert clock.monotonic() - began >= 0.3
    assert len(text) == 1_000_000
    assert f'"t":{made[0].id}' in text
