"""One websocket's life, played; through a feed, which keeps making the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aggr_server import clock
from aggr_server.connection import Setup
from aggr_server.entrance import Ask
from aggr_server.exchanges.base import Channel, Request
from aggr_server.feed import Feed
from aggr_server.gate import Gate
from aggr_server.streams import StreamState
from aggr_server.transport import Disconnected
from tests.unit.aggr_server.playing import (
    Both,
    Exchange,
    Line,
    Reports,
    Toy,
    asks,
    clean,
    frame,
    markets,
)

COINS = ("BTC", "ETH")


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    clock.adjust("1700000000000*30")
    yield
    clock.adjust("")


class Bench:
    def __init__(self, toy: Toy, coins: tuple[str, ...], setup: dict[str, Any]) -> None:
        self.exchange = Exchange()
        self.reports = Reports()
        self.markets = markets(toy, *coins)
        self.states = [
            StreamState(stream, m, self.reports)
            for m in self.markets
            for stream in toy.streams("all", m.instrument)
        ]
        gate = Gate(toy.name, 0.0)
        self.feed = Feed("TOY", "all", self.states, Setup(toy, self.exchange, gate, **setup))

    async def line(self) -> Line:
        return await self.exchange.lines.get()


@asynccontextmanager
async def running(
    toy: type[Toy] = Toy, coins: tuple[str, ...] = COINS, **setup: Any
) -> AsyncIterator[Bench]:
    bench = Bench(toy(), coins, setup)
    task = asyncio.create_task(bench.feed.run())
    try:
        async with asyncio.timeout(10):
            yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def with_channel(**fields: Any) -> type[Toy]:
    channel = Channel(**{"url": "wss://toy.example:8443/ws", "max_streams": 8, **fields})
    return type("Special", (Toy,), {"channels": {"all": channel}})


async def test_the_opening_request_has_headers_and_goes_through_the_gateway() -> None:
    toy = with_channel(headers={"Origin": "x"})
    async with running(toy, gateway="http://127.0.0.1:9/front") as bench:
        line = await bench.line()
        assert line.url == "ws://127.0.0.1:9/front/toy.example/ws"
        assert line.headers == {"Origin": "x"}


async def test_the_entrance_is_asked_before_each_connection() -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> bytes:
        asked.append(request)
        return await inner(request)

    inner: Ask = asks("wss://node7.toy.example/ws?token=abc")  # type: ignore[assignment]
    entrance = Request("https://api.toy.example/bullet", "POST", "{}")
    toy = with_channel(entrance=entrance)
    async with running(toy, ask=ask, gateway="http://127.0.0.1:9") as bench:
        line = await bench.line()
        assert line.url == "ws://127.0.0.1:9/node7.toy.example/ws?token=abc"
        line.put(clean())
        await bench.line()
        expected = Request("http://127.0.0.1:9/api.toy.example/bullet", "POST", "{}")
        assert asked == [expected, expected]


async def test_an_entrance_that_answers_nonsense_is_tried_again() -> None:
    answers = [b"<html>", b'"wss://n.toy.example"']

    async def ask(request: Request) -> bytes:
        return answers.pop(0)

    toy = with_channel(entrance=Request("https://api.toy.example/bullet"))
    async with running(toy, ask=ask) as bench:
        await bench.line()
        assert "answer not understood" in bench.feed.last_error


async def test_subscriptions_wait_for_the_greeting() -> None:
    async with running(with_channel(greets=True)) as bench:
        line = await bench.line()
        await clock.sleep(2)
        assert line.sent.empty()
        line.put(frame("greet"))
        assert await line.confirm() == ["BTC:trades ETH:trades"]


async def test_a_missing_greeting_ends_the_connection() -> None:
    async with running(with_channel(greets=True)) as bench:
        line = await bench.line()
        await line.closed.wait()
        await bench.line()
        assert bench.feed.last_error == "no greeting within 15 s"


async def test_it_settles_before_it_subscribes() -> None:
    async with running(with_channel(settle_s=3.0)) as bench:
        line = await bench.line()
        started = clock.monotonic()
        await line.sent.get()
        assert clock.monotonic() - started >= 3.0


async def test_subscriptions_are_paced() -> None:
    toy = type("Slow", (Toy,), {"message_spacing_s": 2.0, "per_message": 1})
    async with running(toy) as bench:
        line = await bench.line()
        await line.sent.get()
        started = clock.monotonic()
        await line.sent.get()
        assert clock.monotonic() - started >= 1.9


async def test_an_unconfirmed_subscription_is_given_up() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.closed.wait()
        await bench.line()
        assert bench.feed.last_error.endswith("not confirmed within 15 s")
        assert bench.reports.count("live") == 0


async def test_what_the_exchange_wants_answered_is_answered() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        line.put(frame("reply", text="pong 17"))
        assert await line.sent.get() == "pong 17"


async def test_pings_carry_the_channel_and_the_time() -> None:
    def ping(self: Toy, channel: str, now_s: int) -> str:
        return f"{channel} {now_s}"

    toy = type("Pinged", (Toy,), {"ping": ping, "ping_interval_s": 5.0})
    async with running(toy) as bench:
        line = await bench.line()
        await line.confirm()
        first, second = (await line.sent.get(), await line.sent.get())
        assert first.startswith("all ")
        assert 4 <= int(second[4:]) - int(first[4:]) <= 8


async def test_each_connection_has_a_parser_of_its_own() -> None:
    made = []

    def session(self: Toy) -> object:
        made.append(self)
        return self.parse

    async with running(type("Stateful", (Toy,), {"session": session})) as bench:
        (await bench.line()).put(clean())
        (await bench.line()).put(clean())
        await bench.line()
        assert len(made) == 3


async def test_a_stream_refused_by_name_is_left_out() -> None:
    async with running(Both) as bench:
        line = await bench.line()
        assert await line.sent.get() == "BTC:trades BTC:liquidations"
        assert await line.sent.get() == "ETH:trades ETH:liquidations"
        line.put(
            frame("reject", wire="ETH", kind="liquidations", text="no such topic"), frame("ack")
        )
        assert (await bench.reports.next())[:3] == ("refused", "ETH", "liquidations")
        assert [(await bench.reports.next())[1:] for _ in range(3)] == [
            ("BTC", "trades"),
            ("BTC", "liquidations"),
            ("ETH", "trades"),
        ]
        line.put(clean())
        again = await bench.line()
        assert await again.sent.get() == "BTC:trades BTC:liquidations"
        assert await again.sent.get() == "ETH:trades"


async def play_rejections(line: Line, culprits: set[str]) -> None:
    """An exchange that rejects every message with a culprit in it, without naming it."""
    while True:
        text = await line.sent.get()
        wires = {part.partition(":")[0] for part in text.split()}
        line.put(frame("reject", text="bad") if wires & culprits else frame("ack"))


async def test_a_culprit_nobody_names_is_found_and_the_others_go_live() -> None:
    coins = ("A", "B", "C", "D", "E", "F", "G")
    async with running(coins=coins) as bench:
        players = []
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                line = await bench.line()
                players.append(group.create_task(play_rejections(line, {"C", "F"})))
            live = sorted([(await bench.reports.next("live"))[1] for _ in range(5)])
            for player in players:
                player.cancel()
        assert live == ["A", "B", "D", "E", "G"]
        refused = {r[1] for r in bench.reports.all if r[0] == "refused"}
        assert refused == {"C", "F"}
        assert bench.exchange.lines.empty()
        assert not line.closed.is_set()


async def test_a_culprit_whose_subscription_ends_the_connection_is_found() -> None:
    async def play(line: Line) -> None:
        while True:
            if "B:" in await line.sent.get():
                line.put(clean())
                return
            line.put(frame("ack"))

    async with running(coins=("A", "B", "C")) as bench, asyncio.TaskGroup() as group:

        async def serve() -> None:
            first = await bench.line()
            await first.sent.get()
            first.put(frame("reject", text="bad"), clean())
            while True:
                await play(await bench.line())

        server = group.create_task(serve())
        live = sorted([(await bench.reports.next("live"))[1] for _ in range(2)])
        server.cancel()
        assert live == ["A", "C"]
        assert {r[1] for r in bench.reports.all if r[0] == "refused"} == {"B"}


async def test_an_exchange_that_rejects_everything_costs_no_stream() -> None:
    async with running() as bench, asyncio.TaskGroup() as group:
        players = []
        for _ in range(4):
            line = await bench.line()
            players.append(group.create_task(play_rejections(line, set(COINS))))
        await (await bench.line()).confirm()
        for player in players:
            player.cancel()
        assert bench.reports.count("refused") == 0


async def test_a_message_nobody_confirms_is_found_by_asking_in_groups() -> None:
    async def play(line: Line) -> None:
        while True:
            if "D:" not in await line.sent.get():
                line.put(frame("ack"))

    async with running(coins=("A", "B", "C", "D")) as bench, asyncio.TaskGroup() as group:
        players = [group.create_task(play(await bench.line())) for _ in range(2)]
        live = sorted([(await bench.reports.next("live"))[1] for _ in range(3)])
        for player in players:
            player.cancel()
        assert live == ["A", "B", "C"]
        assert {r[1] for r in bench.reports.all if r[0] == "refused"} == {"D"}


async def test_after_a_dirty_end_nothing_is_certain_since_the_last_frame() -> None:
    async with running(coins=("BTC",)) as bench:
        line = await bench.line()
        await line.confirm()
        await bench.reports.next("live")
        heard_ms = clock.now_ms()
        line.put(frame("trade", wire="BTC", id=1, ts=heard_ms))
        await clock.sleep(30)
        line.put(Disconnected("reset", clean=False))
        await bench.reports.next("lost")
        assert heard_ms - 2500 <= bench.reports.at[-1] <= heard_ms + 500


@pytest.mark.parametrize("end", [clean(), Disconnected("reset", clean=False)])
async def test_one_that_was_silent_at_the_end_may_have_been_mute(end: Disconnected) -> None:
    async with running(coins=("BTC", "ETH")) as bench:
        line = await bench.line()
        await line.confirm()
        confirmed_ms = clock.now_ms()
        for number in range(20):
            line.put(frame("trade", wire="BTC", id=number, ts=clock.now_ms()))
            await clock.sleep(1)
            for state in bench.feed.states:
                state.observe(clock.monotonic(), 1.0, clock.now_ms())
        ended_ms = clock.now_ms()
        line.put(end)
        for _ in range(2):
            await bench.reports.next("lost")
        told = zip(bench.reports.all, bench.reports.at, strict=True)
        lost = {report[1]: at_ms for report, at_ms in told if report[0] == "lost"}
        assert ended_ms - 3000 <= lost["BTC"] <= ended_ms
        assert lost["ETH"] <= confirmed_ms + 1000


async def test_an_unreadable_frame_is_counted_and_its_market_doubted() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        await bench.reports.next("live")
        before_ms = clock.now_ms()
        line.put(b'{"what":"trade","wire":"ETH","id":[]}')
        line.put(frame("trade", wire="BTC", id=2, ts=before_ms))
        assert await bench.reports.next("doubtful") == ("doubtful", "ETH", "unreadable")
        assert bench.reports.at[-1] <= before_ms
        assert bench.feed.parse_errors == 1
        assert bench.markets[0].trades == 1


async def test_of_a_frame_cut_short_every_market_is_doubted() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        line.put(frame("trade", wire="ETH", id=2)[:-9])
        doubted = {(await bench.reports.next("doubtful"))[1] for _ in range(2)}
        assert doubted == {"BTC", "ETH"}


async def test_unreadable_frames_are_confessed_also_when_the_connection_ends() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        await bench.reports.next("live")
        line.put(b"\xff", clean())
        assert (await bench.reports.next("doubtful"))[1] in COINS
        assert (await bench.reports.next("lost"))[1] in COINS


async def test_an_exchange_that_sends_garbage_only_is_not_called_live_again() -> None:
    async with running(Both, coins=("BTC",)) as bench, asyncio.TaskGroup() as group:

        async def garbage(line: Line) -> None:
            while not line.closed.is_set():
                line.put(b"{")
                await clock.sleep(0.5)

        line = await bench.line()
        await line.confirm()
        task = group.create_task(garbage(line))
        assert (await bench.reports.next("lost"))[3] == "unreadable"
        again = await bench.line()
        await again.confirm()
        await clock.sleep(3)
        assert bench.feed.is_live
        assert bench.reports.now_live == set()
        task.cancel()


async def test_many_unreadable_frames_make_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        line.put(*[b"{"] * 100)
        await bench.reports.next("doubtful")
        assert bench.feed.parse_errors == 100
        assert sum("frame not understood" in r.getMessage() for r in caplog.records) == 1


async def test_what_belongs_to_no_market_is_ignored() -> None:
    async with running() as bench:
        line = await bench.line()
        await line.confirm()
        line.put(frame("trade", wire="DOGE", id=1), frame("liquidation", wire="BTC"), clean())
        await bench.reports.next("lost")
        assert bench.markets[0].trades == bench.markets[0].liquidations == 0
