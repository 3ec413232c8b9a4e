"""health-monitor with a random market, a strategy and a freqtrade, as long as it is looked at."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import aiohttp
import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import bar_line
from aggr_server.wire import CHANNEL, MARKETS_KEY, encode
from scripts.stack.running import StackError
from services.core import names
from services.core.alerts import tell
from services.core.records import Alert, Heartbeat, OpenInterestShare, OpenInterestTotal
from services.core.schema import rebuild_statements
from services.core.views import Setup, View, Views, Wait, Window
from tests.bench.flooding.rig import PYTHONPATH, Stores
from tests.bench.paging.market import Coin, markets, message
from tests.integration.servers import ROOT, free_port
from tests.integration.trading.freqtrade_double import FreqtradeDouble, trade

BASES = ("BTC", "ETH")
START_S = 60.0
LINES = 4_000


class Rig:
    """`url`: of the page, `pid`: of its process."""

    def __init__(self, stores: Stores, folder: Path, *, hours: float) -> None:
        self._settings = stores.new_database()
        self._folder = folder
        self._hours = hours
        self._coins = {base: Coin(base, 1) for base in BASES}
        self._redis = Redis(port=stores.redis.port)
        self._influx = InfluxClient(self._settings, timeout_s=60.0)
        self._freqtrade = FreqtradeDouble()
        self._port = free_port()
        self._seq = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Rig:
        await self._freqtrade.__aenter__()
        self._freqtrade.opened = [trade(current_rate=101.0, stop_loss_abs=99.0)]
        closed = {"is_open": False, "close_timestamp": 1, "close_profit_abs": 1.0}
        self._freqtrade.closed = [trade(trade_id=i, **closed) for i in range(100)]
        now = int(time.time()) - 2
        await self._write_history(now)
        await self._send_slow(now)
        self._process = self._start()
        self._feeding = asyncio.create_task(self._feed(now))
        await self._answers()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._feeding is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 30)
        failed = self._feeding.done() and not self._feeding.cancelled()
        self._feeding.cancel()
        await asyncio.gather(self._feeding, return_exceptions=True)
        await self._freqtrade.__aexit__(kind, error, trace)
        await self._influx.close()
        await self._redis.aclose()
        if failed and error is None:
            self._feeding.result()

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            "PYTHONPATH": PYTHONPATH,
            "REDIS_PORT": str(self._redis.connection_pool.connection_kwargs["port"]),
            "INFLUX_PORT": str(self._settings.influx_port),
            "INFLUX_DATABASE": self._settings.influx_database,
            "HEALTH_PORT": str(self._port),
            "AGGR_SYMBOLS": ",".join(BASES),
            "HEARTBEAT_DIR": str(self._folder / "alive"),
            "FREQTRADE_API_URL": self._freqtrade.url,
            "FREQTRADE_API_PASSWORD": "secret",
            "AGGR_SERVER_URL": self._freqtrade.url,
        }
        with (self._folder / "page.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "services.health_monitor"],
                cwd=ROOT,
                env=environ,
                stdout=log,
                stderr=log,
            )

    async def _answers(self) -> None:
        """Wait until four hours are there."""
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while not await self._loaded():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self._folder / "page.log").read_text(errors="replace")[-2000:]
                raise StackError(f"page: health-monitor did not come up:\n{tail}")
            await asyncio.sleep(0.2)

    async def _loaded(self) -> bool:
        now = int(time.time())
        query = {"symbol": "BTCUSDT", "step": "60", "from": str(now - 14_400), "to": str(now)}
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/api/history", params=query) as answer,
            ):
                found = await answer.json() if answer.status == 200 else {}
        except aiohttp.ClientError:
            return False
        return bool(found) and len(found["t"]) > 200 and None not in found["close"][1:-1]

    async def _write_history(self, now: int) -> None:
        start = now - int(self._hours * 3600)
        for coin in self._coins.values():
            lines: list[str] = []
            for bars in coin.seconds(start, now):
                lines += [bar_line(bar) for bar in bars]
                if len(lines) >= LINES:
                    await self._influx.write(lines, retention_policy="aggr_1s")
                    lines = []
            await self._influx.write(lines, retention_policy="aggr_1s")
        for statement in rebuild_statements(self._settings.influx_database, start, now):
            await self._influx.query(statement)

    async def _feed(self, t: int) -> None:
        """Each second's bars and views, as they come in operation."""
        while True:
            await asyncio.sleep(max(0.0, t + 1.2 - time.time()))
            self._seq += 1
            bars = [bar for coin in self._coins.values() for bar in coin.second(t)]
            now_ms = time.time_ns() // 1_000_000
            await self._redis.publish(CHANNEL, encode(message(self._seq, t, bars, now_ms)))
            await self._influx.write([bar_line(bar) for bar in bars], retention_policy="aggr_1s")
            views = [_view(base, t, coin.close) for base, coin in self._coins.items()]
            told = Views(replica="bench", ts_ms=now_ms, views=views)
            await self._redis.publish(names.VIEWS, msgspec.json.encode(told))
            if t % 10 == 0:
                await self._send_slow(t)
            t += 1

    async def _send_slow(self, t: int) -> None:
        """Markets, open interest, alerts, and the strategy's heartbeat."""
        ts_ms = t * 1000
        spread = {"median": 0.3 + t % 7, "p99": 3.0 + t % 11}
        stages = dict.fromkeys(("bus", "assemble", "write", "second", "signal", "jitter"), spread)
        details = {"cycle_ms": spread, "stages_ms": stages}
        beat = Heartbeat(
            service="strategy-runner", ts_ms=ts_ms, pid=1, cycle_ms=0.3, details=details
        )
        alert = Alert(level="warning", code="bench", text="nothing is wrong " * 5, ts_ms=ts_ms)
        async with self._redis.pipeline() as pipe:
            for base, coin in self._coins.items():
                records = {m.market: msgspec.json.encode(m) for m in markets(base)}
                pipe.hset(MARKETS_KEY, mapping=records)  # type: ignore[arg-type]
                total = msgspec.json.encode(_interest(base, ts_ms, coin.close))
                pipe.set(names.open_interest_total(base), total)
                pipe.publish(names.OI_CHANNEL, total)
            pipe.set(names.heartbeat("strategy-runner"), msgspec.json.encode(beat))
            tell(pipe, msgspec.json.encode(alert))
            await pipe.execute()


def _interest(base: str, ts_ms: int, price: float) -> OpenInterestTotal:
    coins = 1_000.0 + ts_ms // 1000 % 50
    venues = [
        OpenInterestShare(
            exchange=exchange, coins=coins, usd=coins * price, price=price, ts_ms=ts_ms
        )
        for exchange in ("BINANCE_FUTURES", "BYBIT", "OKX", "DERIBIT", "PHEMEX")
    ]
    return OpenInterestTotal(
        base=base, ts_ms=ts_ms, coins=5 * coins, usd=5 * coins * price, change_24h=0.01,
        venues=venues, missing=[],
    )  # fmt: skip


def _view(base: str, t: int, price: float) -> View:
    gap = 3.5 * (t % 60) / 60
    windows = [
        Window(
            minutes=minutes, z_spot=gap / 2, z_perp=-gap / 2, z_price=0.1, gap=gap, holds=gap > 3,
            scale_spot=1e6, scale_perp=2e6, scale_price=1e-3, scale_gap=1.0,
        )
        for minutes in (15, 30, 60)
    ]  # fmt: skip
    waits = [
        Wait(code=f"w{i}", text=f"gap {gap:.2f} of 3.00 scales", met=i % 2 == 0, have=gap, need=3.0)
        for i in range(6)
    ]
    return View(
        symbol=f"{base}USDT", base=base, t=t, state="RESET", direction=1, since_t=t - t % 60,
        price=price, c_spot=1e6 * gap, c_perp=-1e6 * gap, coverage=0.97, windows=windows,
        setup=Setup(setup_id="s", direction=1, anchor_t=t - t % 60, tests=1, oi_state="rising"),
        score=gap, score_needed=4.0, parts={"absorption_candle": gap}, waits=waits,
    )  # fmt: skip
