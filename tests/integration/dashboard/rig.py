"""health-monitor as a process, browsers that look at it, and a market for it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import bar_line, market_line
from aggr_server.wire import CHANNEL, MARKETS_KEY, Bar, ClosedSecond, Market, encode
from tests.bench.paging.market import markets
from tests.integration.monitor.support import service_env
from tests.integration.servers import free_port
from tests.waiting import within

WAIT_S = 30.0
eventually = within(WAIT_S)
REFERENCE = "BINANCE_FUTURES:btcusdt"
KIND = {market.market: str(market.kind) for market in markets("BTC")}

Message = dict[str, Any]


class Browser:
    """One websocket; `seen`: every message so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[Message] = []

    async def watch(self, symbol: str = "BTCUSDT") -> None:
        await self.socket.send_json({"symbol": symbol})

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that is wanted, of those seen and those to come."""
        for message in self.seen:
            if wanted(message):
                return message
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.next()
                if wanted(message):
                    return message

    async def next(self) -> Message:
        message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
        found: Message = msgspec.json.decode(message.data)
        self.seen.append(found)
        return found

    async def block(self, kind: str, **fields: Any) -> Message:
        """A message of this kind that says so."""
        return await self.until(
            lambda m: m["type"] == kind and all(m[k] == v for k, v in fields.items())
        )

    async def second(self, t: int, **fields: Any) -> Message:
        return await self.block("second", t=t, **fields)

    async def closed(self) -> int | None:
        """Why the server closed it."""
        async with asyncio.timeout(WAIT_S):
            while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.socket.close_code


class PageProcess:
    """A running health-monitor at `url`. `ended`: it was asked to end."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.ended = False
        self.url = url
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    @asynccontextmanager
    async def browser(self, symbol: str = "BTCUSDT") -> AsyncIterator[Browser]:
        """A page that watches `symbol`; none if it is empty."""
        async with self.session.ws_connect(f"{self.url}/live", origin=self.url) as socket:
            browser = Browser(socket)
            if symbol:
                await browser.watch(symbol)
            yield browser

    async def history(self, step: int, from_s: int, to_s: int) -> dict[str, Any]:
        query = {"symbol": "BTCUSDT", "step": str(step), "from": str(from_s), "to": str(to_s)}
        async with self.session.get(f"{self.url}/api/history", params=query) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, Any] = await answer.json()
            return found

    async def status(self, path: str, **headers: str) -> int:
        url = self.url + path
        async with self.session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status


@asynccontextmanager
async def page(environ: dict[str, str], folder: Path, **more: str) -> AsyncIterator[PageProcess]:
    """A health-monitor that has opened its port; it must still run at the end."""
    port = free_port()
    nobody = "http://127.0.0.1:1"
    given = {
        "AGGR_SYMBOLS": "BTC,ETH",
        "STACK_SERVICES": "redis",
        "FREQTRADE_API_URL": nobody,
        "AGGR_SERVER_URL": nobody,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.health_monitor",
        env=service_env(environ, folder, HEALTH_PORT=str(port), **given),
    )
    running = PageProcess(process, f"http://127.0.0.1:{port}")
    try:
        await _answers(running)
        yield running
        assert running.ended or process.returncode is None
    finally:
        await running.session.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(WAIT_S):
            await process.wait()
    assert process.returncode == 0


async def _answers(running: PageProcess) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if await running.status("/login") < 500:
                return
        except aiohttp.ClientError:
            assert running.process.returncode is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


class Feed:
    """Collectors: what they publish, and what they write."""

    def __init__(self, redis: Redis, influx: InfluxClient) -> None:
        self.redis = redis
        self.influx = influx
        self._numbers: dict[str, int] = {}

    async def list_markets(self, bases: Iterable[str] = ("BTC", "ETH")) -> None:
        found = [market for base in bases for market in markets(base)]
        records = {market.market: msgspec.json.encode(market) for market in found}
        await self.redis.hset(MARKETS_KEY, mapping=records)  # type: ignore[arg-type]

    async def store_markets(self, t: int) -> None:
        found: Sequence[Market] = [*markets("BTC"), *markets("ETH")]
        await self.influx.write([market_line(market, t) for market in found])

    async def write(self, bars: Sequence[Bar]) -> None:
        for i in range(0, len(bars), 4_000):
            lines = [bar_line(bar) for bar in bars[i : i + 4_000]]
            await self.influx.write(lines, retention_policy="aggr_1s")

    async def publish(
        self,
        t: int,
        bars: Sequence[Bar] = (),
        *,
        amended: Sequence[Bar] = (),
        collector: str = "aggr-1",
        skip: int = 0,
        **more: Any,
    ) -> None:
        """Say that second `t` is closed. `skip`: messages before it that nobody hears."""
        number = self._numbers[collector] = self._numbers.get(collector, 0) + 1 + skip
        now_ms = time.time_ns() // 1_000_000
        message = ClosedSecond(
            collector, "1", number, t, now_ms, now_ms, list(bars), list(amended), **more
        )
        await self.redis.publish(CHANNEL, encode(message))


async def heard(redis: Redis, channel: str, count: int) -> None:
    """Wait until so many listen to a channel."""
    deadline = time.monotonic() + WAIT_S
    while (await redis.pubsub_numsub(channel))[0][1] != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def sums(bars: Iterable[Bar]) -> dict[str, Any]:
    """What a bar of the page made of `bars` must say."""
    ordered = sorted(bars, key=lambda bar: bar.time)
    of: dict[str, list[Bar]] = {"spot": [], "perp": []}
    for bar in ordered:
        of[KIND[bar.market]].append(bar)
    prices = [bar for bar in ordered if bar.market == REFERENCE]
    found: dict[str, Any] = {
        kind: sum(bar.vbuy - bar.vsell for bar in chosen) for kind, chosen in of.items()
    }
    found |= {
        f"{kind}_volume": sum(bar.vbuy + bar.vsell for bar in chosen) for kind, chosen in of.items()
    }
    found["lbuy"] = sum(bar.lbuy for bar in ordered)
    found["lsell"] = sum(bar.lsell for bar in ordered)
    found["bar"] = (
        [
            prices[0].open,
            max(bar.high for bar in prices),
            min(bar.low for bar in prices),
            prices[-1].close,
        ]
        if prices
        else None
    )
    return found


def rounded(expected: Mapping[str, Any]) -> dict[str, Any]:
    """Flows to the cent, as they are sent."""
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in expected.items()}


def now_s() -> int:
    return time.time_ns() // 1_000_000_000
