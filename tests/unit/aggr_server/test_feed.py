"""The life of a feed, against a connector whose sockets the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from aggr_server import exchanges, feed
from aggr_server.bars import BarBuilder
from aggr_server.feed import Feed
from aggr_server.markets import MarketState
from aggr_server.throttle import Backoff, Pacer
from aggr_server.transport import Disconnected, Refused, Socket

OKEX = exchanges.get("OKEX")
NOW_MS = 1_700_000_000_000
ACK = b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}'


def trade(id: int, inst: str = "BTC-USDT") -> bytes:
    return (
        f'{{"arg":{{"channel":"trades","instId":"{inst}"}},"data":[{{"instId":"{inst}",'
        f'"tradeId":"{id}","px":"10","sz":"2","side":"buy","ts":"{NOW_MS}"}}]}}'
    ).encode()


class Line:
    """A played socket: the test puts in frames, or an exception that ends the connection."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[str] = asyncio.Queue()
        self.inbox: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def send(self, text: str) -> None:
        self.sent.put_nowait(text)

    async def receive_all(self, on_frame: Callable[[bytes], int], batch: int) -> None:
        while True:
            item = await self.inbox.get()
            if isinstance(item, Exception):
                raise item
            on_frame(item)

    async def close(self) -> None:
        self.closed.set()


class Exchange:
    """Hands out played sockets, after the refusals it was given."""

    def __init__(self, *refusals: Refused) -> None:
        self.refusals = list(refusals)
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.urls: list[str] = []

    async def connect(self, url: str) -> Socket:
        self.urls.append(url)
        if self.refusals:
            raise self.refusals.pop(0)
        line = Line()
        self.lines.put_nowait(line)
        return line


class Reports:
    """What the feed vouches for."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()

    def live(self, markets: Iterable[MarketState], at_ms: int) -> None:
        self.seen.put_nowait(("live", *sorted(m.name for m in markets)))

    def lost(self, markets: Iterable[MarketState], at_ms: int, reason: str) -> None:
        if names := sorted(m.name for m in markets):
            self.seen.put_nowait(("lost", reason, str(at_ms - NOW_MS), *names))

    def refused(self, market: MarketState, reason: str) -> None:
        market.refused = reason
        self.seen.put_nowait(("refused", market.name))


class Bench:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.reports = Reports()
        self.now_ms = NOW_MS
        builder = BarBuilder()
        self.markets = [
            MarketState(OKEX, i, builder.series(OKEX.market(i)))
            for i in map(OKEX.assume, ("BTC-USDT", "ETH-USDT"))
        ]
        self.feed = Feed(
            OKEX,
            "public",
            "wss://x",
            self.markets,
            connector=exchange,
            sink=self.reports,
            pacer=Pacer(0),
            clock_ms=lambda: self.now_ms,
            backoff=Backoff(base_s=0.001, cap_s=0.001),
        )

    async def go_live(self) -> Line:
        line = await self.exchange.lines.get()
        await line.sent.get()
        for _ in range(2):
            line.inbox.put_nowait(ACK)
        assert await self.reports.seen.get() == ("live", "OKEX:BTC-USDT", "OKEX:ETH-USDT")
        return line


@asynccontextmanager
async def running(*refusals: Refused) -> AsyncIterator[Bench]:
    bench = Bench(Exchange(*refusals))
    task = asyncio.create_task(bench.feed.run())
    try:
        async with asyncio.timeout(10):
            yield bench
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(OKEX), "message_spacing_s", 0.0)


async def test_a_feed_is_live_once_everything_is_confirmed() -> None:
    async with running() as bench:
        line = await bench.exchange.lines.get()
        assert '"instId":"ETH-USDT"' in await line.sent.get()
        line.inbox.put_nowait(ACK)
        await asyncio.sleep(0)
        assert not bench.feed.is_live
        line.inbox.put_nowait(ACK)
        assert (await bench.reports.seen.get())[0] == "live"
        assert bench.feed.is_live


async def test_after_a_break_it_connects_and_subscribes_again() -> None:
    async with running() as bench:
        line = await bench.go_live()
        line.inbox.put_nowait(trade(1))
        line.inbox.put_nowait(Disconnected("closed, code 1000", clean=True))
        names = ("OKEX:BTC-USDT", "OKEX:ETH-USDT")
        assert await bench.reports.seen.get() == ("lost", "disconnect", "0", *names)
        await line.closed.wait()
        again = await bench.go_live()
        again.inbox.put_nowait(trade(1))
        again.inbox.put_nowait(trade(2))
        again.inbox.put_nowait(Disconnected("x", clean=True))
        await bench.reports.seen.get()
        assert (bench.markets[0].trades, bench.markets[0].duplicates) == (2, 1)
        assert bench.feed.reconnects >= 1


async def test_after_a_dirty_break_nothing_is_certain_since_the_last_frame() -> None:
    async with running() as bench:
        line = await bench.go_live()
        bench.now_ms += 7000
        line.inbox.put_nowait(Disconnected("reset", clean=False))
        assert (await bench.reports.seen.get())[:3] == ("lost", "disconnect", "0")


async def test_a_refused_connection_is_tried_again() -> None:
    async with running(Refused("HTTP 451", status=451), Refused("no route")) as bench:
        await bench.go_live()
        assert len(bench.exchange.urls) == 3
        assert bench.feed.last_error == ""


async def test_a_refusal_is_explained() -> None:
    async with running(Refused("HTTP 451", status=451)) as bench:
        await bench.exchange.lines.get()
        assert bench.feed.last_error.startswith("HTTP 451: this exchange does not serve your")


async def test_the_exchange_says_how_long_to_wait() -> None:
    async with running(Refused("HTTP 429", status=429, retry_after_s=0.2)) as bench:
        started = asyncio.get_running_loop().time()
        await bench.go_live()
        assert asyncio.get_running_loop().time() - started >= 0.2


async def test_a_market_the_exchange_refuses_is_left_out() -> None:
    refusal = b'{"event":"error","code":"60018","msg":"channel:trades,instId:ETH-USDT no"}'
    async with running() as bench:
        line = await bench.exchange.lines.get()
        await line.sent.get()
        line.inbox.put_nowait(refusal)
        line.inbox.put_nowait(ACK)
        assert await bench.reports.seen.get() == ("refused", "OKEX:ETH-USDT")
        assert await bench.reports.seen.get() == ("live", "OKEX:BTC-USDT")
        line.inbox.put_nowait(Disconnected("x", clean=True))
        second = await bench.exchange.lines.get()
        assert "ETH-USDT" not in await second.sent.get()


async def test_an_unconfirmed_subscription_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CONFIRM_WITHIN_S", 0.02)
    async with running() as bench:
        line = await bench.exchange.lines.get()
        await line.closed.wait()
        await bench.exchange.lines.get()
        assert "not confirmed" in bench.feed.last_error


async def test_a_rejection_that_names_no_market_breaks_the_connection() -> None:
    async with running() as bench:
        line = await bench.exchange.lines.get()
        line.inbox.put_nowait(b'{"event":"error","code":"60012","msg":"Invalid request"}')
        await line.closed.wait()
        await bench.exchange.lines.get()
        assert bench.feed.last_error == "subscription rejected: 60012 Invalid request"


async def test_a_silent_market_breaks_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        def __init__(self, now_s: float, total: int) -> None:
            pass

        def silent_for(self, now_s: float, total: int) -> float | None:
            return 12.0 if total else None

    monkeypatch.setattr(feed, "SilenceWatch", Impatient)
    monkeypatch.setattr(feed, "CHECK_EVERY_S", 0.005)
    async with running() as bench:
        line = await bench.go_live()
        line.inbox.put_nowait(trade(1))
        assert await bench.reports.seen.get() == ("lost", "silence", "-12000", "OKEX:BTC-USDT")
        assert await bench.reports.seen.get() == ("lost", "disconnect", "0", "OKEX:ETH-USDT")
        await line.closed.wait()


async def test_a_frame_that_is_not_understood_is_counted_and_survived() -> None:
    async with running() as bench:
        line = await bench.go_live()
        line.inbox.put_nowait(trade(1)[:80])
        line.inbox.put_nowait(trade(2))
        line.inbox.put_nowait(trade(3, "DOGE-USDT"))
        line.inbox.put_nowait(Disconnected("x", clean=True))
        await bench.reports.seen.get()
        assert (bench.feed.parse_errors, bench.markets[0].trades) == (1, 1)


async def test_the_exchange_is_pinged_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(OKEX), "ping_interval_s", 0.005)
    async with running() as bench:
        line = await bench.go_live()
        assert await line.sent.get() == "ping"
        assert await line.sent.get() == "ping"
