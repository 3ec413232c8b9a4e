"""Successive connections of one feed, against sockets the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from aggr_server import clock, feed
from aggr_server.connection import Setup, State
from aggr_server.exchanges.base import Stream
from aggr_server.feed import Feed
from aggr_server.gate import Gate
from aggr_server.streams import StreamState
from aggr_server.transport import Disconnected, Refused
from tests.unit.aggr_server.playing import Exchange, Line, Reports, Toy, clean, frame, markets

SPEED = 200


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    clock.adjust(f"1700000000000*{SPEED}")
    yield
    clock.adjust("")


class Bench:
    def __init__(self, exchange: Exchange, toy: Toy) -> None:
        self.exchange = exchange
        self.reports = Reports()
        self.markets = markets(toy, "BTC", "ETH")
        self.states = [
            StreamState(Stream(m.instrument, "trades"), m, self.reports) for m in self.markets
        ]
        self.gate = Gate(toy.name, toy.connect_spacing_s)
        self.feed = Feed("TOY/all", "all", self.states, Setup(toy, exchange, self.gate))

    async def go_live(self) -> Line:
        line = await self.exchange.lines.get()
        await line.confirm()
        return line

    async def both(self, what: str) -> list[tuple[str, ...]]:
        return [await self.reports.next(what), await self.reports.next(what)]


@asynccontextmanager
async def running(*refusals: Refused, toy: type[Toy] = Toy) -> AsyncIterator[Bench]:
    bench = Bench(Exchange(*refusals), toy())
    task = asyncio.create_task(bench.feed.run())
    try:
        async with asyncio.timeout(10):
            yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_feed_is_live_once_everything_is_confirmed() -> None:
    async with running() as bench:
        line = await bench.exchange.lines.get()
        assert await line.sent.get() == "BTC:trades ETH:trades"
        assert not bench.feed.is_live
        assert bench.feed.state is State.SUBSCRIBING
        line.put(frame("ack"))
        assert await bench.both("live") == [("live", "BTC", "trades"), ("live", "ETH", "trades")]
        assert bench.feed.is_live
        assert [s.kind for s in bench.feed.streams] == ["trades", "trades"]
        assert bench.feed.markets == bench.markets


async def test_after_a_break_it_connects_and_subscribes_again() -> None:
    async with running() as bench:
        line = await bench.go_live()
        line.put(frame("trade", wire="BTC", id=1, ts=clock.now_ms()), clean())
        assert await bench.both("lost") == [
            ("lost", "BTC", "trades", "disconnect"),
            ("lost", "ETH", "trades", "disconnect"),
        ]
        await line.closed.wait()
        again = await bench.go_live()
        await bench.both("live")
        now_ms = clock.now_ms()
        again.put(
            frame("trade", wire="BTC", id=1, ts=now_ms),
            frame("trade", wire="BTC", id=2, ts=now_ms),
            clean(),
        )
        await bench.both("lost")
        assert (bench.markets[0].trades, bench.markets[0].duplicates) == (2, 1)
        assert bench.feed.reconnects == 2


async def test_a_refused_connection_is_tried_again_and_the_error_goes_away() -> None:
    async with running(Refused("no route"), Refused("no route")) as bench:
        line = await bench.exchange.lines.get()
        assert bench.feed.last_error == "no route"
        await line.confirm()
        await bench.both("live")
        await idle()
        assert len(bench.exchange.urls) == 3
        assert bench.feed.last_error == ""


async def test_a_refusal_is_explained() -> None:
    async with running(Refused("HTTP 418", status=418, retry_after_s=5)) as bench:
        await bench.exchange.lines.get()
        assert bench.feed.last_error == "HTTP 418: too many requests from this address"


async def test_before_the_end_of_its_life_a_connection_has_a_successor() -> None:
    class Mortal(Toy):
        lifetime_s = 100.0

    async with running(toy=Mortal) as bench:
        first = await bench.go_live()
        started = clock.monotonic()
        second = await bench.exchange.lines.get()
        assert 75 < clock.monotonic() - started < 100
        assert not first.closed.is_set()
        now_ms = clock.now_ms()
        first.put(frame("trade", wire="BTC", id=7, ts=now_ms))
        await second.confirm()
        second.put(
            frame("trade", wire="BTC", id=7, ts=now_ms), frame("trade", wire="BTC", id=8, ts=now_ms)
        )
        confirmed = clock.monotonic()
        await first.closed.wait()
        assert clock.monotonic() - confirmed >= feed.OVERLAP_S - 1
        assert bench.feed.is_live
        assert bench.reports.count("lost") == 0
        assert (bench.markets[0].trades, bench.markets[0].duplicates) == (2, 1)
        assert bench.feed.reconnects == 0


async def test_when_the_exchange_announces_its_leaving_the_successor_comes_first() -> None:
    async with running() as bench:
        first = await bench.go_live()
        first.put(frame("leave", text="maintenance"))
        second = await bench.exchange.lines.get()
        assert not first.closed.is_set()
        await second.confirm()
        await idle()
        first.put(clean())
        await first.closed.wait()
        assert bench.reports.count("lost") == 0
        assert bench.feed.is_live


async def test_a_successor_that_cannot_be_made_leaves_the_old_connection_alone() -> None:
    async with running() as bench:
        first = await bench.go_live()
        await bench.both("live")
        bench.exchange.refusals = [Refused("no route")] * 3
        bench.feed.replace()
        second = await bench.exchange.lines.get()
        assert not first.closed.is_set()
        assert bench.feed.is_live
        await second.confirm()
        await first.closed.wait()
        assert bench.reports.count("lost") == 0


async def test_a_break_before_the_successor_is_live_is_a_loss() -> None:
    async with running() as bench:
        first = await bench.go_live()
        await bench.both("live")
        bench.feed.replace()
        second = await bench.exchange.lines.get()
        await second.sent.get()
        first.put(Disconnected("reset", clean=False))
        await bench.both("lost")
        second.put(frame("ack"))
        await bench.both("live")


async def test_what_a_dirty_end_took_with_it_before_the_successor_was_live_is_lost() -> None:
    async with running() as bench:
        first = await bench.go_live()
        await bench.both("live")
        first_ms = clock.now_ms()
        first.put(frame("trade", wire="BTC", id=1, ts=first_ms))
        await clock.sleep(20)
        bench.feed.replace()
        await (await bench.exchange.lines.get()).confirm()
        await idle()
        assert bench.feed.is_live
        first.put(Disconnected("reset", clean=False))
        assert (await bench.reports.next())[:2] == ("lost", "BTC")
        assert await bench.reports.next() == ("live", "BTC", "trades")
        lost_ms, live_ms = bench.reports.at[2:4]
        assert lost_ms <= first_ms + 2000
        assert live_ms >= first_ms + 20_000


async def test_trades_without_ids_are_taken_from_one_connection_at_a_time() -> None:
    async with running() as bench:
        first = await bench.go_live()
        await bench.both("live")
        btc = bench.markets[0]
        newest = clock.now_ms()
        first.put(frame("trade", wire="BTC", ts=newest))
        bench.feed.replace()
        second = await bench.exchange.lines.get()
        await second.sent.get()
        second.put(frame("trade", wire="BTC", ts=newest - 1), frame("ack"))
        await idle()
        for ts in (newest + 1999, newest + 2000):
            first.put(frame("trade", wire="BTC", ts=ts))
            second.put(frame("trade", wire="BTC", ts=ts))
        await first.closed.wait()
        assert btc.trades == 3
        second.put(frame("trade", wire="BTC", ts=newest + 6000), clean())
        await bench.both("lost")
        assert btc.trades == 4


async def test_further_streams_come_by_a_successor_and_disturb_nobody() -> None:
    async with running() as bench:
        first = await bench.go_live()
        await bench.both("live")
        (sol,) = markets(Toy(), "SOL")
        bench.feed.adopt([StreamState(Stream(sol.instrument, "trades"), sol, bench.reports)])
        second = await bench.exchange.lines.get()
        assert await second.confirm(2) == ["BTC:trades ETH:trades", "SOL:trades"]
        assert await bench.reports.next() == ("live", "SOL", "trades")
        await first.closed.wait()
        assert bench.reports.count("lost") == 0


async def test_without_streams_left_it_closes_and_waits_for_new_ones() -> None:
    async with running() as bench:
        line = await bench.go_live()
        await bench.both("live")
        bench.feed.release(bench.states)
        await line.closed.wait()
        assert not bench.feed.is_live
        bench.feed.adopt(bench.states[:1])
        again = await bench.exchange.lines.get()
        assert await again.confirm() == ["BTC:trades"]


async def test_dropped_streams_are_deaf_at_once() -> None:
    async with running() as bench:
        line = await bench.go_live()
        await bench.both("live")
        bench.states[0].forget()
        bench.feed.release(bench.states[:1], drop=True)
        now_ms = clock.now_ms()
        line.put(
            frame("trade", wire="BTC", id=1, ts=now_ms),
            frame("trade", wire="ETH", id=1, ts=now_ms),
            clean(),
        )
        assert await bench.reports.next("lost") == ("lost", "ETH", "trades", "disconnect")
        assert [m.trades for m in bench.markets] == [0, 1]
