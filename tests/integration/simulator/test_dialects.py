"""Every simulated venue is understood by the collector's own adapter, and tells it the truth."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggr_server import exchanges
from aggr_server.exchanges.base import (
    Ack,
    Adapter,
    Greeting,
    Instrument,
    Liquidation,
    Rejection,
    Reply,
    Request,
    Trade,
    Window,
)
from aggr_server.gateway import through_gateway
from services.simulator import instruments, venues

from .conftest import WAIT_S, Simulation, running

VENUES = sorted(set(venues.known()) & set(exchanges.known()))
SECONDS = 12

Seen = tuple[int, str, bool]
"""Milliseconds, price, bought."""


class Reader:
    """One connection of a venue, read by its adapter."""

    def __init__(self, adapter: Adapter, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.adapter = adapter
        self.socket = socket
        self.trades: dict[str, dict[Any, Trade]] = defaultdict(dict)
        self.liquidations: list[Liquidation] = []
        self.acks = 0
        self.greeted = False
        self._parse = adapter.session()

    async def until(self, met: Any) -> None:
        """Read until a condition holds."""
        async with asyncio.timeout(WAIT_S):
            while not met():
                await self._take((await self.socket.receive()).data)

    async def _take(self, data: str | bytes) -> None:
        for event in self._parse(data.encode() if isinstance(data, str) else data):
            match event:
                case Trade():
                    self.trades[event.wire][event.id] = event
                case Liquidation():
                    self.liquidations.append(event)
                case Ack():
                    self.acks += 1
                case Greeting():
                    self.greeted = True
                case Reply():
                    await self.socket.send_str(event.text)
                case Rejection():
                    raise AssertionError(event.reason)


class Seat:
    """A simulation of one venue and the adapter that is to understand it."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation = simulation
        self.adapter = exchanges.get(name)
        self.gateway = str(simulation.server.make_url("/")).rstrip("/")

    async def ask(self, request: Request) -> bytes:
        url = through_gateway(request.url, self.gateway)
        body = request.body.encode() or None
        async with self.simulation.session.request(request.method, url, data=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def discovered(self) -> dict[str, Instrument]:
        found: dict[str, Instrument] = {}
        for first in self.adapter.discovery:
            request: Request | None = first
            while request is not None:
                page = self.adapter.instruments(await self.ask(request))
                found |= {self.adapter.market(i): i for i in page.instruments}
                request = page.next
        return found

    async def reader(self, channel: str, wanted: Sequence[Instrument]) -> Reader:
        """A connection that is subscribed to some instruments."""
        facts = self.adapter.channels[channel]
        url = facts.url
        if facts.entrance:
            url = self.adapter.entered(channel, await self.ask(facts.entrance))
        url = through_gateway(url, self.gateway)
        socket = await self.simulation.session.ws_connect(url, headers=facts.headers)
        reader = Reader(self.adapter, socket)
        if facts.greets:
            await reader.until(lambda: reader.greeted)
        streams = [s for i in wanted for s in self.adapter.streams(channel, i)]
        messages = self.adapter.subscriptions(channel, streams)
        for message in messages:
            await socket.send_str(message.text)
        due = sum(message.acks for message in messages)
        await reader.until(lambda: reader.acks >= due)
        return reader


@pytest.fixture(params=VENUES)
async def seat(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Seat]:
    async for simulation in running(tmp_path, (request.param,)):
        yield Seat(simulation, request.param)


def by_market(trades: Sequence[instruments.Trade]) -> dict[str, list[instruments.Trade]]:
    found: dict[str, list[instruments.Trade]] = defaultdict(list)
    for trade in trades:
        found[trade.instrument.market].append(trade)
    return found


def notional(instrument: Instrument, trade: Trade | Liquidation) -> float:
    """In quote, as the collector computes it."""
    units = trade.size * (instrument.contract_size or 0.0)
    return units if instrument.inverse else units * trade.price


def assert_same(
    instrument: Instrument,
    found: Sequence[Trade],
    made: Sequence[instruments.Trade],
    *,
    grain_ms: int = 1,
) -> None:
    ordered = sorted(found, key=lambda t: (t.ts_ms, t.order, str(t.id)))
    wanted = sorted(made, key=lambda t: (t.ts_ms // grain_ms, t.id))
    assert len(ordered) == len(wanted)
    assert sorted((t.ts_ms // grain_ms, t.price, t.is_buy) for t in ordered) == sorted(
        (t.ts_ms // grain_ms, float(t.price), t.buy) for t in wanted
    )
    assert sum(notional(instrument, t) for t in ordered) == pytest.approx(
        sum(float(t.notional) for t in wanted), rel=1e-12
    )


async def test_trades_arrive_as_they_were_made(seat: Seat) -> None:
    known = await seat.discovered()
    assert set(known) >= set(seat.simulation.market.instruments)
    channels = {known[market].channel for market in seat.simulation.market.instruments}
    wanted = {
        c: [known[m] for m in seat.simulation.market.instruments if known[m].channel == c]
        for c in channels
    }
    readers = {c: await seat.reader(c, found) for c, found in wanted.items()}
    old = {c: {w: set(t) for w, t in r.trades.items()} for c, r in readers.items()}
    made = by_market(await seat.simulation.trade(SECONDS))
    for market, trades in made.items():
        instrument = known[market]
        reader = readers[instrument.channel]
        before = old[instrument.channel].get(instrument.wire, set())
        heard = reader.trades[instrument.wire]
        due = len(trades)
        await reader.until(lambda h=heard, b=before, n=due: len(h.keys() - b) >= n)
        fresh = [trade for number, trade in heard.items() if number not in before]
        assert_same(instrument, fresh, trades)


async def test_the_past_is_told_as_it_was(seat: Seat) -> None:
    known = await seat.discovered()
    made = by_market(await seat.simulation.trade(SECONDS * 4))
    start = seat.simulation.market.live_from
    assert start is not None
    for market, trades in made.items():
        instrument = known[market]
        window = Window((start + 5) * 1000, (start + SECONDS * 3) * 1000)
        request = seat.adapter.past(instrument, window)
        if request is None:
            pytest.skip(f"{seat.adapter.name} does not tell the past")
        found: dict[Any, Trade] = {}
        since_ms = window.from_ms
        while request is not None:
            past = seat.adapter.read_past(instrument, window, await seat.ask(request))
            found |= {t.id: t for t in past.trades}
            since_ms = max(since_ms, past.since_ms)
            request = past.next
        inside = [t for t in found.values() if since_ms <= t.ts_ms < window.to_ms]
        grain_ms = 1000 if all(t.ts_ms % 1000 == 0 for t in inside) else 1
        since_ms = -(-since_ms // grain_ms) * grain_ms
        wanted = [t for t in trades if since_ms <= t.ts_ms < window.to_ms]
        assert_same(instrument, inside, wanted, grain_ms=grain_ms)
