"""The simulated venues on real sockets, with trades that are made when a test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestServer

from services.simulator import gateway, venues
from services.simulator.connections import Hub
from services.simulator.control import Control
from services.simulator.faults import Faults
from services.simulator.instruments import Trade
from services.simulator.ledger import Ledger
from services.simulator.market import Market
from services.simulator.stream import Stream

WAIT_S = 5.0


class Simulation:
    """A running gateway. Trading began minutes ago, but nothing was made yet."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        instruments = venues.instruments(names)
        self.ledger = Ledger(folder, instruments)
        self.market = Market(1, instruments, self.ledger)
        self.hub = Hub()
        self.faults = Faults({i.market: i.exchange for i in instruments})
        self.venues = venues.create(self.market, self.hub, self.faults, names)
        self.stream = Stream(self.market, self.venues, self.hub, self.faults)
        self.control = Control(self.market, self.hub, self.venues, self.stream, self.faults)
        self.server = TestServer(gateway.application(self.venues, self.control, self.faults))
        self.session = aiohttp.ClientSession()

    def url(self, path: str) -> str:
        return str(self.server.make_url("/" + path))

    async def connect(self, path: str) -> Socket:
        return Socket(await self.session.ws_connect(self.url(path), autoping=False))

    async def get(self, path: str, **parameters: object) -> Any:
        query = {name: str(value) for name, value in parameters.items()}
        async with self.session.get(self.url(path), params=query) as response:
            return await response.json()

    async def trade(self, seconds: int = 1) -> list[Trade]:
        """Make the next seconds and send them at once."""
        made: list[Trade] = []
        for _ in range(seconds):
            assert self.market.made_until is not None
            made += self.market.make(self.market.made_until)
        await self.stream.release(made)
        return made

    async def forced(self, market: str) -> Trade:
        """Trade until a position of this market is liquidated; that trade."""
        for _ in range(190):
            for trade in await self.trade():
                if trade.liquidation and trade.instrument.market == market:
                    return trade
        raise AssertionError("no liquidation within 190 seconds")


class Socket:
    """A websocket client that keeps its JSON frames apart from the rest."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        await self.socket.send_str(text)

    async def text(self) -> str:
        async with asyncio.timeout(WAIT_S):
            return str((await self.socket.receive()).data)

    async def receive(self) -> Any:
        return msgspec.json.decode(await self.text())

    async def receive_all(self, count: int) -> list[Any]:
        return [await self.receive() for _ in range(count)]

    async def ask(self, message: object) -> Any:
        await self.send(message)
        return await self.receive()


async def running(folder: Path, names: Sequence[str]) -> AsyncIterator[Simulation]:
    """Venues whose trading began 200 s ago."""
    simulation = Simulation(folder, names)
    simulation.market.plan(int(time.time()) - 200)
    await simulation.server.start_server()
    yield simulation
    await simulation.session.close()
    await simulation.server.close()
    simulation.ledger.close()


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    """The venues of the demo."""
    async for simulation in running(tmp_path, venues.DEMO):
        yield simulation


@pytest.fixture
async def all_venues(tmp_path: Path) -> AsyncIterator[Simulation]:
    """Every venue there is."""
    async for simulation in running(tmp_path, tuple(venues.known())):
        yield simulation
