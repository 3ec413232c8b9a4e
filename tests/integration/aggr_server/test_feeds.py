"""Feeds against an exchange over real sockets; what lasts hours passes on a faster clock."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from aggr_server import clock, transport
from aggr_server.gate import BLOCKED_S
from aggr_server.markets import MarketState
from aggr_server.transport import PicowsConnector
from aggr_server.venue import VenueFeeds
from tests.integration.aggr_server.process import eventually
from tests.integration.aggr_server.toy_exchange import ToyExchange
from tests.unit.aggr_server.playing import Both, Reports, Toy, markets

pytestmark = pytest.mark.alone
LEARN_S = 45.0


@contextmanager
def passing(speed: float) -> Iterator[None]:
    """Time passes `speed` times faster; opening a socket may take as long as it really does."""
    clock.adjust(f"{int(time.time() * 1000)}*{speed}")
    patch = pytest.MonkeyPatch()
    patch.setattr(transport, "CONNECT_TIMEOUT_S", transport.CONNECT_TIMEOUT_S * speed)
    try:
        yield
    finally:
        patch.undo()
        clock.adjust("")


class Rest:
    """What the exchange would say over REST: the newest trade, delivered or not."""

    def __init__(self, exchange: ToyExchange) -> None:
        self.exchange = exchange
        self.questions = 0

    async def newest_trade_ms(self, market: MarketState) -> int | None:
        self.questions += 1
        return self.exchange.newest_ms.get(market.instrument.wire, 0)


class Bench:
    def __init__(self, exchange: ToyExchange, toy: Toy, coins: tuple[str, ...]) -> None:
        self.exchange = exchange
        self.reports = Reports()
        self.rest = Rest(exchange)
        self.markets = {m.instrument.wire: m for m in markets(toy, *coins)}
        self.feeds = VenueFeeds(
            toy,
            list(self.markets.values()),
            PicowsConnector(),
            self.reports,
            self.rest,
            gateway=exchange.gateway,
        )

    async def all_live(self, count: int) -> None:
        await eventually(lambda: len(self.reports.now_live) == count)


@asynccontextmanager
async def running(
    exchange: ToyExchange, coins: tuple[str, ...], toy: type[Toy] = Toy
) -> AsyncIterator[Bench]:
    async with exchange.running():
        bench = Bench(exchange, toy(), coins)
        task = asyncio.create_task(bench.feeds.run())
        try:
            yield bench
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def mute_after_learning(bench: Bench, streams: set[str]) -> float:
    await clock.sleep(LEARN_S)
    assert bench.reports.count("lost") == 0
    bench.exchange.mute = streams
    return clock.monotonic()


async def test_c7_a_busy_market_that_falls_mute_is_noticed_within_ten_seconds() -> None:
    exchange = ToyExchange({"BTC:trades": 0.1, "ETH:trades": 0.2})
    with passing(20):
        async with running(exchange, ("BTC", "ETH")) as bench:
            silent_s = await mute_after_learning(bench, {"BTC:trades", "ETH:trades"})
            await eventually(lambda: bench.reports.count("lost") == 2)
            assert clock.monotonic() - silent_s <= 10.0
            assert all(report[3] == "silence" for report in bench.reports.all[-2:])


async def test_c7_other_markets_within_a_minute() -> None:
    coins = ("BTC", "SLOW", "SLOWER")
    exchange = ToyExchange({"BTC:trades": 0.2, "SLOW:trades": 4.0, "SLOWER:trades": 12.0})
    with passing(60):
        async with running(exchange, coins) as bench:
            await clock.sleep(300)
            silent_s = await mute_after_learning(bench, {"SLOW:trades", "SLOWER:trades"})
            await eventually(lambda: bench.reports.count("lost") == 2)
            assert clock.monotonic() - silent_s <= 60.0
            assert ("TOY:BTC", "trades") in bench.reports.now_live


async def test_c8_mute_from_the_first_message_is_noticed_within_fifteen_seconds() -> None:
    exchange = ToyExchange({"BTC:trades": 0.5, "ETH:trades": 0.5})
    exchange.mute = {"BTC:trades"}
    with passing(20):
        async with running(exchange, ("BTC", "ETH")) as bench:
            await bench.all_live(2)
            acknowledged_s = clock.monotonic()
            await eventually(lambda: bench.reports.count("lost") == 1)
            assert clock.monotonic() - acknowledged_s <= 15.0
            await clock.sleep(60)
            assert ("TOY:BTC", "trades") not in bench.reports.now_live
            assert ("TOY:ETH", "trades") in bench.reports.now_live
            exchange.mute = set()
            await bench.all_live(2)


async def test_c9_one_kind_that_falls_mute_is_restarted_alone() -> None:
    streams = [f"{coin}:{kind}" for coin in ("BTC", "ETH") for kind in ("trades", "liquidations")]
    exchange = ToyExchange(dict.fromkeys(streams, 0.5))
    forced = {"BTC:liquidations", "ETH:liquidations"}
    with passing(30):
        async with running(exchange, ("BTC", "ETH"), Both) as bench:
            await mute_after_learning(bench, forced)
            await eventually(lambda: bench.reports.count("lost") >= 2)
            assert {r[2] for r in bench.reports.all if r[0] == "lost"} == {"liquidations"}
            exchange.mute = set()
            await bench.all_live(4)
            assert len(exchange.subscriptions[0]) == 4
            assert all(set(asked) <= forced for asked in exchange.subscriptions[1:])
            assert {r[2] for r in bench.reports.all if r[0] == "lost"} == {"liquidations"}


async def test_c10_half_an_hour_without_a_trade_restarts_and_alarms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange = ToyExchange({"BTC:trades": 0.5})
    coins = ("BTC", "WAS", "NEVER")
    exchange.every_s["WAS:trades"] = 2.0
    exchange.sent["WAS:trades"] = 0
    with passing(400):
        async with running(exchange, coins) as bench:
            await clock.sleep(120)
            exchange.every_s["WAS:trades"] = exchange.every_s["BTC:trades"] = 1e9
            await clock.sleep(1800)
            assert bench.reports.count("lost") == 0
            assert len(bench.reports.now_live) == 3
            assert len(exchange.attempts) == 1
            assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
            assert bench.rest.questions <= 40


async def test_c11_a_reset_every_five_seconds_stays_within_the_connect_limit() -> None:
    toy = type("Limited", (Toy,), {"connect_spacing_s": 8.0})
    exchange = ToyExchange({"BTC:trades": 0.1})
    with passing(60):
        async with running(exchange, ("BTC",), toy) as bench:
            started_s = clock.monotonic()
            while clock.monotonic() - started_s < 300:
                await clock.sleep(5.0)
                exchange.reset()
            elapsed_s = clock.monotonic() - started_s
            assert 20 <= len(exchange.attempts) <= elapsed_s / 8.0 + 1
            assert 15 <= bench.reports.count("lost") <= exchange.cut
            await bench.all_live(1)
            assert bench.markets["BTC"].trades >= 0.2 * exchange.sent["BTC:trades"]
            assert bench.markets["BTC"].duplicates == 0


async def test_c12_retry_after_is_obeyed() -> None:
    coins = tuple(f"C{n}" for n in range(24))
    exchange = ToyExchange({f"{coin}:trades": 1.0 for coin in coins})
    exchange.refusal = (429, {"Retry-After": "60"})
    with passing(60):
        async with running(exchange, coins):
            await eventually(lambda: len(exchange.attempts) >= 4)
            assert min(exchange.distances()) >= 60.0
            exchange.refusal = None
            await eventually(lambda: len(exchange.subscriptions) == 3)


async def test_c12_a_region_block_is_named_once_and_not_hammered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    coins = tuple(f"C{n}" for n in range(24))
    exchange = ToyExchange({f"{coin}:trades": 1.0 for coin in coins})
    exchange.refusal = (451, {})
    with passing(1000):
        async with running(exchange, coins) as bench:
            await eventually(lambda: len(exchange.attempts) == 4)
            assert min(exchange.distances()) >= BLOCKED_S
            errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
            assert len(errors) == 1
            assert "does not serve your location; take it out of AGGR_EXCHANGES" in errors[0]
            assert not any(feed.is_live for feed in bench.feeds.feeds)


async def test_c13_after_a_day_without_the_exchange_it_still_tries_and_has_not_grown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange = ToyExchange({"BTC:trades": 60.0})
    exchange.refusal = (503, {})
    with passing(10_000):
        async with running(exchange, ("BTC",)) as bench:
            await clock.sleep(3600)
            caplog.clear()
            gc.collect()
            tasks, objects = len(asyncio.all_tasks()), len(gc.get_objects())
            attempts = len(exchange.attempts)
            await clock.sleep(86_400)
            more = len(exchange.attempts) - attempts
            delays = [float(m[1]) for m in re.finditer(r"retry_s=([0-9.]+)", caplog.text)]
            caplog.clear()
            gc.collect()
            grown = len(gc.get_objects()) - objects - more
            assert grown < 2000
            # An attempt under way has some of its own.
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
            # The way there takes milliseconds, which are minutes on this clock.
            assert more >= 200
            assert 30.0 < max(delays) <= 90.0
            exchange.refusal = None
            await bench.all_live(1)


async def test_c14_planned_disconnects_lose_nothing() -> None:
    class Mortal(Toy):
        lifetime_s = 200.0

    exchange = ToyExchange({"BTC:trades": 0.5, "ETH:trades": 0.7})
    exchange.lifetime_s = 200.0
    with passing(60):
        async with running(exchange, ("BTC", "ETH"), Mortal) as bench:
            await bench.all_live(2)
            before = dict(exchange.sent)
            counted = {coin: market.trades for coin, market in bench.markets.items()}
            await eventually(lambda: len(exchange.subscriptions) == 4)
            await clock.sleep(10)
            assert bench.reports.count("lost") == 0
            assert exchange.cut == 0
            for coin, market in bench.markets.items():
                missing = exchange.sent[f"{coin}:trades"] - before[f"{coin}:trades"]
                missing -= market.trades - counted[coin]
                assert abs(missing) <= 1  # the one under way at either end
                assert market.duplicates > 0
