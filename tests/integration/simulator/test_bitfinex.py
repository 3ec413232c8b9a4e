from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import Leaving, Liquidation

from .conftest import Simulation, Socket, running

PATH = "api-pub.bitfinex.com/ws/2"
BITFINEX = exchanges.get("BITFINEX")


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Simulation]:
    async for simulation in running(tmp_path, ("BITFINEX",)):
        yield simulation


async def _open(venue: Simulation) -> Socket:
    socket = await venue.connect(PATH)
    assert (await socket.receive())["event"] == "info"
    return socket


async def _subscribe(socket: Socket, **what: str) -> Any:
    return await socket.ask({"event": "subscribe", **what})


async def test_each_client_gets_numbers_of_its_own_and_old_trades(venue: Simulation) -> None:
    await venue.trade(10)
    numbers = set()
    for _ in range(2):
        socket = await _open(venue)
        told = await _subscribe(socket, channel="trades", symbol="tBTCUSD")
        assert (told["event"], told["symbol"], told["pair"]) == ("subscribed", "tBTCUSD", "BTCUSD")
        numbers.add(told["chanId"])
        number, old = await socket.receive()
        assert number == told["chanId"]
        assert [row[0] for row in old] == sorted((row[0] for row in old), reverse=True)
    assert len(numbers) == 2


async def test_every_trade_comes_twice(venue: Simulation) -> None:
    socket = await _open(venue)
    told = await _subscribe(socket, channel="trades", symbol="tBTCUSD")
    await socket.receive()
    made = [t for t in await venue.trade(10) if t.instrument.native == "tBTCUSD"]
    frames = await socket.receive_all(2 * len(made))
    assert {frame[0] for frame in frames} == {told["chanId"]}
    for kind in ("te", "tu"):
        rows = [frame[2] for frame in frames if frame[1] == kind]
        assert [row[0] for row in rows] == [t.id for t in made]
        assert [row[2] > 0 for row in rows] == [t.buy for t in made]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"channel": "trades", "symbol": "tNOPE"}, 10300),
        ({"channel": "candles", "symbol": "tBTCUSD"}, 10302),
        ({"channel": "status", "key": "liq:other"}, 10300),
    ],
)
async def test_what_does_not_exist_is_refused(
    venue: Simulation, what: dict[str, str], code: int
) -> None:
    told = await _subscribe(await _open(venue), **what)
    assert (told["event"], told["code"]) == ("error", code)


async def test_a_second_subscription_is_a_duplicate(venue: Simulation) -> None:
    socket = await _open(venue)
    await _subscribe(socket, channel="status", key="liq:global")
    told = await _subscribe(socket, channel="status", key="liq:global")
    assert told["code"] == 10301


async def test_a_liquidation_is_counted_once_with_its_side(venue: Simulation) -> None:
    socket = await _open(venue)
    await _subscribe(socket, channel="status", key="liq:global")
    forced = await venue.forced("BITFINEX:BTCF0:USTF0")
    parse = BITFINEX.session()
    found: list[Liquidation] = []
    for _ in range(2):
        found += [e for e in parse((await socket.text()).encode()) if isinstance(e, Liquidation)]
    assert [(e.ts_ms, e.is_buy, e.price, e.size) for e in found] == [
        (forced.ts_ms, forced.buy, float(forced.price), float(forced.size))
    ]


async def test_the_end_is_announced(venue: Simulation) -> None:
    await _open(venue)
    (client,) = venue.hub.clients
    (event,) = BITFINEX.parse(venue.venues[0].farewell(client).encode())
    assert isinstance(event, Leaving)


async def test_the_past_is_sorted_as_asked_for(venue: Simulation) -> None:
    made = [t for t in await venue.trade(20) if t.instrument.native == "tBTCUSD"]
    path = "api-pub.bitfinex.com/v2/trades/tBTCUSD/hist"
    query = {"start": made[0].ts_ms, "end": made[-1].ts_ms, "limit": 10_000}
    rows = await venue.get(path, **query, sort=1)
    assert [row[0] for row in rows] == [t.id for t in made]
    assert await venue.get(path, **query) == rows[::-1]
    assert [abs(row[2]) for row in rows] == [msgspec.convert(t.size, float, strict=False)
                                             for t in made]  # fmt: skip
    assert (await venue.get("api-pub.bitfinex.com/v2/trades/tNO/hist"))[0] == "error"
