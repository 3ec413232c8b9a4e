"""All feeds of a venue, against sockets the test plays, on a clock that passes quickly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from aggr_server import clock
from aggr_server.exchanges.base import Channel
from aggr_server.markets import MarketState
from aggr_server.venue import VenueFeeds
from tests.unit.aggr_server.playing import (
    Both,
    Exchange,
    Line,
    Oracle,
    Reports,
    Toy,
    clean,
    frame,
    markets,
)


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    clock.adjust("1700000000000*100")
    yield
    clock.adjust("")


class Speaker:
    """Plays every connection: confirms, and sends what was subscribed to, unless it is muted.

    `every_s`: distance of two events of a stream; `muted`: streams that send nothing, on all
    connections or (a pair with its number) on one.
    """

    def __init__(self, exchange: Exchange, every_s: dict[str, float], per_ack: int = 1) -> None:
        self.exchange = exchange
        self.every_s = every_s
        self.muted: set[str | tuple[int, str]] = set()
        self.lines: list[Line] = []
        self.asked: list[list[str]] = []
        self._id = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                line = await self.exchange.lines.get()
                self.lines.append(line)
                self.asked.append([])
                group.create_task(self._play(len(self.lines) - 1, line, group))

    async def _play(self, number: int, line: Line, group: asyncio.TaskGroup) -> None:
        while not line.closed.is_set():
            text = await line.sent.get()
            line.put(frame("ack"))
            for stream in text.split():
                self.asked[number].append(stream)
                group.create_task(self._speak(number, line, stream))

    async def _speak(self, number: int, line: Line, stream: str) -> None:
        wire, _, kind = stream.partition(":")
        what = "trade" if kind == "trades" else "liquidation"
        while stream in self.every_s and not line.closed.is_set():
            await clock.sleep(self.every_s[stream])
            if stream not in self.muted and (number, stream) not in self.muted:
                self._id += 1
                line.put(frame(what, wire=wire, id=self._id, ts=clock.now_ms()))


class Bench:
    def __init__(
        self,
        toy: Toy,
        coins: tuple[str, ...],
        every_s: dict[str, float],
        oracle: Oracle,
        busy: Callable[[str], bool] | None,
    ) -> None:
        self.toy = toy
        self.exchange = Exchange()
        self.reports = Reports()
        self.oracle = oracle
        self.markets = markets(toy, *coins)
        self.speaker = Speaker(self.exchange, every_s)
        self.feeds = VenueFeeds(toy, self.markets, self.exchange, self.reports, oracle, busy=busy)

    async def learned(self, seconds: float = 40.0) -> None:
        """Let the rates be learned."""
        await clock.sleep(seconds)


@asynccontextmanager
async def running(
    coins: tuple[str, ...],
    every_s: dict[str, float],
    *,
    toy: type[Toy] = Toy,
    oracle: Oracle | None = None,
    busy: Callable[[str], bool] | None = None,
) -> AsyncIterator[Bench]:
    bench = Bench(toy(), coins, every_s, oracle or Oracle({}), busy)
    tasks = [asyncio.create_task(bench.feeds.run()), asyncio.create_task(bench.speaker.run())]
    try:
        async with asyncio.timeout(20):
            yield bench
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def test_streams_are_spread_over_connections_and_markets_stay_together() -> None:
    coins = tuple(f"C{n}" for n in range(9))
    async with running(coins, {}, toy=Both) as bench:
        for _ in range(18):
            await bench.reports.next("live")
        assert [len(f.streams) for f in bench.feeds.feeds] == [8, 8, 2]
        assert [f.name for f in bench.feeds.feeds] == ["TOY/all", "TOY/all/2", "TOY/all/3"]
        assert all(len(f.markets) * 2 == len(f.streams) for f in bench.feeds.feeds)


async def test_a_channel_may_carry_the_instruments_of_another() -> None:
    channels = {
        "all": Channel(url="wss://a.example", max_streams=8),
        "forced": Channel(
            url="wss://b.example", max_streams=8, carries=("liquidations",), instruments_of="all"
        ),
    }
    toy = type("Split", (Toy,), {"channels": channels})
    async with running(("BTC",), {}, toy=toy) as bench:
        got = {(await bench.reports.next("live"))[2] for _ in range(2)}
        assert got == {"trades", "liquidations"}
        assert sorted(bench.exchange.urls) == ["wss://a.example", "wss://b.example"]


async def test_a_mute_market_moves_to_a_connection_of_its_own() -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(("BTC", "ETH"), every_s) as bench:
        await bench.learned()
        assert bench.reports.count("lost") == 0
        bench.oracle.newest = {"BTC": 1 << 50}
        silent_ms = clock.now_ms()
        bench.speaker.muted = {(0, "BTC:trades")}
        assert await bench.reports.next("lost") == ("lost", "BTC", "trades", "silence")
        assert clock.now_ms() - silent_ms <= 11_000
        assert silent_ms - 3000 <= bench.reports.at[-1] <= silent_ms + 1000
        assert await bench.reports.next() == ("live", "BTC", "trades")
        assert bench.speaker.asked == [["BTC:trades", "ETH:trades"], ["BTC:trades"]]
        assert not bench.speaker.lines[0].closed.is_set()
        assert len(bench.feeds.feeds) == 2


async def test_a_venue_whose_rest_lags_hides_no_second_of_a_mute_market() -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(("BTC", "ETH"), every_s) as bench:
        await bench.learned()
        silent_ms, asked = clock.now_ms(), len(bench.oracle.asked)
        bench.speaker.muted = {(0, "BTC:trades")}
        while len(bench.oracle.asked) == asked:
            await clock.sleep(0.2)
        bench.oracle.newest = {"BTC": silent_ms + 8000}
        assert await bench.reports.next("lost") == ("lost", "BTC", "trades", "silence")
        assert bench.reports.at[-1] <= silent_ms + 1000


async def test_when_the_main_connection_is_replaced_the_extra_one_is_merged_into_it() -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(("BTC", "ETH"), every_s) as bench:
        await bench.learned()
        bench.oracle.newest = {"BTC": 1 << 50}
        bench.speaker.muted = {(0, "BTC:trades")}
        await bench.reports.next("lost")
        await bench.reports.next("live")
        bench.feeds.feeds[0].replace()
        await bench.speaker.lines[1].closed.wait()
        assert sorted(bench.speaker.asked[2]) == ["BTC:trades", "ETH:trades"]
        await clock.sleep(2)
        assert len(bench.feeds.feeds) == 1
        assert bench.reports.count("lost") == 1
        assert len(bench.reports.now_live) == 2


async def test_if_everything_is_mute_the_connection_is_replaced() -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.5}
    async with running(("BTC", "ETH"), every_s) as bench:
        await bench.learned()
        bench.oracle.newest = {"BTC": 1 << 50, "ETH": 1 << 50}
        bench.speaker.muted = {(0, "BTC:trades"), (0, "ETH:trades")}
        lost = {await bench.reports.next("lost"), await bench.reports.next("lost")}
        assert lost == {("lost", c, "trades", "silence") for c in ("BTC", "ETH")}
        await bench.speaker.lines[0].closed.wait()
        assert {(await bench.reports.next("live"))[1] for _ in range(2)} == {"BTC", "ETH"}
        assert [len(asked) for asked in bench.speaker.asked] == [2, 2]
        assert len(bench.feeds.feeds) == 1


async def test_after_a_mute_connection_nothing_is_believed_before_something_is_heard() -> None:
    coins = ("BTC", "ETH", "RARE")
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(coins, every_s, oracle=Oracle({"BTC": 1 << 50})) as bench:
        bench.speaker.muted = {"BTC:trades", "ETH:trades"}
        for _ in coins:
            await bench.reports.next("lost")
        await clock.sleep(8)
        assert len(bench.speaker.lines) == 2
        assert bench.feeds.feeds[0].is_live
        assert bench.reports.now_live == set()
        bench.speaker.muted = set()
        assert {(await bench.reports.next("live"))[1] for _ in coins} == set(coins)


async def test_one_that_stays_mute_is_not_called_live_and_ends_in_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(("BTC", "ETH"), every_s) as bench:
        await bench.learned()
        bench.oracle.newest = {"BTC": 1 << 50}
        bench.speaker.muted = {"BTC:trades"}
        await bench.reports.next("lost")
        await clock.sleep(200)
        assert ("TOY:BTC", "trades") not in bench.reports.now_live
        assert 3 <= len(bench.speaker.lines) <= 9
        errors = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert len(errors) == 1
        assert "stays mute" in errors[0].getMessage()
        bench.speaker.muted = set()
        await bench.reports.next("live")
        assert bench.reports.count("lost") == 1


async def test_forced_orders_alone_are_restarted_when_they_alone_stop() -> None:
    every_s = {"BTC:trades": 0.2, "BTC:liquidations": 0.5}
    async with running(("BTC",), every_s, toy=Both) as bench:
        await bench.learned()
        bench.speaker.muted = {(0, "BTC:liquidations")}
        assert await bench.reports.next("lost") == ("lost", "BTC", "liquidations", "silence")
        assert await bench.reports.next() == ("live", "BTC", "liquidations")
        assert bench.speaker.asked[1] == ["BTC:liquidations"]
        assert bench.oracle.asked == []


async def test_rare_forced_orders_raise_no_suspicion() -> None:
    async with running(("BTC",), {"BTC:trades": 0.2}, toy=Both) as bench:
        await clock.sleep(150)
        assert bench.reports.count("lost") == 0
        assert len(bench.speaker.lines) == 1


async def test_where_the_venue_cannot_be_asked_the_rate_decides() -> None:
    every_s = {"BTC:trades": 0.2, "ETH:trades": 0.2}
    async with running(("BTC", "ETH", "SOL"), every_s, oracle=Oracle(None)) as bench:
        await bench.learned()
        silent_ms = clock.now_ms()
        bench.speaker.muted = {(0, "BTC:trades")}
        assert await bench.reports.next("lost") == ("lost", "BTC", "trades", "silence")
        assert clock.now_ms() - silent_ms <= 12_000
        await clock.sleep(60)
        assert bench.reports.count("lost") == 1


async def test_a_market_never_heard_is_suspected_if_its_coin_trades_elsewhere() -> None:
    every_s = {"BTC:trades": 0.2}
    async with running(
        ("BTC", "ETH", "SOL"), every_s, oracle=Oracle(None), busy=lambda base: base == "ETH"
    ) as bench:
        assert await bench.reports.next("lost") == ("lost", "ETH", "trades", "silence")
        await clock.sleep(60)
        assert {r[1] for r in bench.reports.all if r[0] == "lost"} == {"ETH"}


async def test_questions_are_bounded() -> None:
    coins = tuple(f"C{n}" for n in range(300))
    toy = type("Wide", (Toy,), {"channels": {"all": Channel(url="wss://x", max_streams=300)}})
    async with running(coins, {}, toy=toy) as bench:
        await clock.sleep(300)
        assert bench.reports.count("lost") == 0
        assert len(bench.speaker.lines) == 1
        assert 120 <= len(bench.oracle.asked) <= 20 + 300 / 2 + 10


async def test_markets_come_and_go_while_the_others_go_on() -> None:
    async with running(("BTC",), {}) as bench:
        await bench.reports.next("live")
        bench.feeds.add(markets(bench.toy, "ETH", "BTC"))
        assert await bench.reports.next() == ("live", "ETH", "trades")
        await bench.speaker.lines[0].closed.wait()
        assert bench.speaker.asked[1] == ["BTC:trades", "ETH:trades"]
        bench.feeds.drop(["TOY:ETH"])
        bench.speaker.lines[1].put(frame("trade", wire="ETH", id=1, ts=clock.now_ms()), clean())
        assert await bench.reports.next("lost") == ("lost", "BTC", "trades", "disconnect")
        bench.feeds.drop(["TOY:BTC"])
        assert bench.feeds.feeds == []


async def test_without_markets_there_is_nothing_to_do() -> None:
    async with running((), {}) as bench:
        await clock.sleep(5)
        added: list[MarketState] = markets(bench.toy, "BTC")
        bench.feeds.add(added)
        assert await bench.reports.next() == ("live", "BTC", "trades")


async def test_cancelling_closes_every_connection() -> None:
    async with running(("BTC", "ETH"), {}, toy=Both) as bench:
        for _ in range(4):
            await bench.reports.next("live")
    assert all(line.closed.is_set() for line in bench.speaker.lines)
