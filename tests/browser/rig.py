"""The real health-monitor on a real Redis and InfluxDB, fed each second, beside a fake freqtrade.

The feed runs in a thread with a loop of its own, for all tests of a module.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import bar_line, market_line
from aggr_server.wire import CHANNEL, MARKETS_KEY, encode
from services.core import names
from services.core.records import Heartbeat, OpenInterestShare, OpenInterestTotal, Signal
from services.core.schema import rebuild_statements
from services.core.views import View, Views
from tests.bench.flooding.rig import PYTHONPATH, ROOT, Stores, wait_for
from tests.bench.paging.market import Coin, markets, message
from tests.integration.servers import free_port

BASES = ("BTC", "ETH")
HISTORY_S = {"BTC": 4 * 3_600 + 300, "ETH": 900}
BATCH = 4_000
STAGES = {"settle": {"median": 310.5, "p99": 402.25}, "publish": {"median": 1.25, "p99": 2.5}}
CYCLE = {"median": 0.25, "p99": 0.75}
LATE_S = 0.25
"""From the end of a second to its bars."""


class Freqtrade:
    """What freqtrade's API answers. Rows as it sends them, changed by the tests."""

    def __init__(self) -> None:
        self.open: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.total = 10_250.5

    def application(self) -> web.Application:
        """The paths that are asked for."""
        answers: dict[str, Callable[[], Any]] = {
            "status": lambda: self.open,
            "trades": lambda: {"trades": self.closed, "total_trades": len(self.closed)},
            "show_config": lambda: {"dry_run": True, "state": "running", "stake_currency": "USDT"},
            "balance": lambda: {"total": self.total},
            "ping": lambda: {"status": "pong"},
            "health": lambda: {"last_process_ts": int(time.time())},
        }
        application = web.Application()
        for path, answer in answers.items():
            application.router.add_get(f"/api/v1/{path}", _answering(answer))
        return application


def _answering(answer: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(answer())

    return handle


class Rig:
    """`view`: makes the view of a base at a second. `paused`: nothing more is published.

    `told`: the newest view of each symbol as it was published; `newest_t`: the newest second;
    `period_s`: from one to the next.
    """

    def __init__(self, folder: Path, view: Callable[[str, int, float], View]) -> None:
        self.view = view
        self.freqtrade = Freqtrade()
        self.paused = threading.Event()
        self.told: dict[str, View] = {}
        self.newest_t = 0
        self.period_s = 1.0
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.coins = {base: Coin(base, 7) for base in BASES}
        self._stores = Stores(folder)
        self._folder = folder
        self._page_port = port
        self._freqtrade_port = free_port()
        self._end = threading.Event()
        self._ready = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def start(self) -> None:
        """Raises `StackError` if it does not come up."""
        self._stores.start()
        self.settings = self._stores.new_database()
        self.redis_port = self._stores.redis.port
        self._feeding = self._pool.submit(lambda: asyncio.run(self._run()))
        wait_for("the feed", lambda: self._ready.is_set() or self._feeding.done())
        if self._feeding.done():
            self._feeding.result()
        wait_for("the page", self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/", timeout=5) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """End everything."""
        self._end.set()
        if hasattr(self, "_feeding"):
            self._feeding.result(30)
        self._pool.shutdown()
        self._stores.stop()

    async def signal(self, signal: Signal) -> None:
        """What strategy-runner does with one."""
        data = msgspec.json.encode(signal)
        async with Redis(port=self.redis_port) as redis:
            await redis.lpush(names.history(signal.symbol), data)
            await redis.publish(names.SIGNALS_CHANNEL, data)

    async def _run(self) -> None:
        runner = web.AppRunner(self.freqtrade.application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._freqtrade_port).start()
        async with (
            InfluxClient(self.settings, timeout_s=60) as influx,
            Redis(port=self.redis_port) as redis,
        ):
            now = int(time.time()) - 1
            await self._write_past(influx, redis, now)
            page = self._page()
            try:
                await self._feed(influx, redis, now)
            finally:
                page.terminate()
                page.wait(20)
        await runner.cleanup()

    def _page(self) -> subprocess.Popen[bytes]:
        with (self._folder / "page.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "services.health_monitor"],
                cwd=ROOT, env=self._environ(), stdout=log, stderr=log,
            )  # fmt: skip

    def _environ(self) -> dict[str, str]:
        freqtrade = f"http://127.0.0.1:{self._freqtrade_port}"
        return {
            **os.environ,
            "PYTHONPATH": PYTHONPATH,
            "REDIS_PORT": str(self.redis_port),
            "INFLUX_PORT": str(self.settings.influx_port),
            "INFLUX_DATABASE": self.settings.influx_database,
            "HEALTH_PORT": str(self._page_port),
            "AGGR_SYMBOLS": ",".join(BASES),
            "HEARTBEAT_DIR": str(self._folder / "alive"),
            "FREQTRADE_API_URL": freqtrade,
            "FREQTRADE_API_PASSWORD": "secret",
            "STACK_SERVICES": "redis,aggr-influx,strategy-runner,freqtrade",
        }

    async def _write_past(self, influx: InfluxClient, redis: Redis, now: int) -> None:
        oldest = now
        for base, coin in self.coins.items():
            start = now - HISTORY_S[base]
            oldest = min(oldest, start)
            await influx.write([market_line(market, now) for market in markets(base)])
            known = {m.market: msgspec.json.encode(m) for m in markets(base)}
            await redis.hset(MARKETS_KEY, mapping=known)  # type: ignore[arg-type]
            lines: list[str] = []
            for bars in coin.seconds(start, now):
                lines += [bar_line(bar) for bar in bars]
                if len(lines) > BATCH:
                    await influx.write(lines, retention_policy="aggr_1s")
                    lines = []
            await influx.write(lines, retention_policy="aggr_1s")
        for statement in rebuild_statements(self.settings.influx_database, oldest, now):
            await influx.query(statement)

    async def _feed(self, influx: InfluxClient, redis: Redis, t: int) -> None:
        sequence = 0
        while not self._end.is_set():
            if self.paused.is_set():
                await asyncio.sleep(0.05)
                t = int(time.time()) - 1
                continue
            await asyncio.sleep(max(0.0, t + 1 + LATE_S - time.time()))
            sequence += 1
            bars = [bar for coin in self.coins.values() for bar in coin.second(t)]
            now_ms = time.time_ns() // 1_000_000
            await redis.publish(CHANNEL, encode(message(sequence, t, bars, now_ms)))
            await influx.write([bar_line(bar) for bar in bars], retention_policy="aggr_1s")
            views = [self.view(base, t, coin.close) for base, coin in self.coins.items()]
            told = Views(replica="rig", ts_ms=now_ms, views=views)
            await redis.publish(names.VIEWS, msgspec.json.encode(told))
            self.told = {view.symbol: view for view in views}
            self.newest_t = t
            if sequence % 5 == 1:
                await self._beat(redis, now_ms)
                await self._interest(redis, now_ms)
            if sequence == 3:
                self._ready.set()
            t += 1

    async def _beat(self, redis: Redis, now_ms: int) -> None:
        beat = Heartbeat(
            service="strategy-runner", ts_ms=now_ms, pid=1, cycle_ms=0.25,
            details={"cycle_ms": CYCLE, "stages_ms": STAGES},
        )  # fmt: skip
        await redis.set(names.heartbeat(beat.service), msgspec.json.encode(beat), ex=15)

    async def _interest(self, redis: Redis, now_ms: int) -> None:
        for base, coin in self.coins.items():
            price, coins = round(coin.close, 1), 81_234.5 + now_ms % 97
            shares = [
                OpenInterestShare(
                    exchange=exchange, coins=coins * share, usd=coins * share * price,
                    price=price, ts_ms=now_ms, change_24h=0.0125 - share,
                )
                for exchange, share in (("BINANCE_FUTURES", 0.5), ("BYBIT", 0.3), ("OKEX", 0.2))
            ]  # fmt: skip
            total = OpenInterestTotal(
                base=base, ts_ms=now_ms, coins=coins, usd=coins * price, change_24h=0.021,
                venues=shares, missing=["DERIBIT"],
            )  # fmt: skip
            key = names.open_interest_total(base)
            await redis.set(key, msgspec.json.encode(total))
        await redis.publish(names.OI_CHANNEL, b"{}")
