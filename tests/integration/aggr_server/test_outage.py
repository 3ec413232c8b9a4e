"""The collector's process while its database or its disk fails: no bar is lost, nothing stops."""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from aggr_server import clock
from aggr_server.influx import InfluxClient
from aggr_server.settings import Connections
from aggr_server.wire import Bar
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.integration.aggr_server.process import CollectorProcess, Listener, eventually, now_s
from tests.integration.aggr_server.venue import Venue
from tests.integration.servers import InfluxServer

BASES = tuple(f"C{n:02d}" for n in range(20))
MARKETS = {f"BINANCE:{base.lower()}usdt": f"{base}USDT" for base in BASES}
TICK_S = 0.05
MEMORY_BYTES = 50 << 20
CAUGHT_UP_S = 60


class Rig:
    """A venue of 20 markets, a collector on it, and an InfluxDB of its own to be broken."""

    def __init__(
        self, venue: Venue, collector: CollectorProcess, listener: Listener, influx: InfluxClient
    ) -> None:
        self.venue = venue
        self.collector = collector
        self.listener = listener
        self.influx = influx
        self.http = aiohttp.ClientSession(collector.url)

    async def trade(self, per_s: float) -> None:
        """About `per_s` trades in each second of the machine, until cancelled."""
        dice, symbols = random.Random(1), list(MARKETS.values())
        loop = asyncio.get_running_loop()
        begin, sent = loop.time(), 0
        while True:
            for _ in range(int((loop.time() - begin) * per_s) - sent):
                sent += 1
                price, size = round(100 + dice.random(), 2), dice.randint(1, 500) / 100
                symbol = symbols[sent % len(symbols)]
                await self.venue.trade(symbol, clock.now_ms(), price, size, dice.random() < 0.5)
            await asyncio.sleep(TICK_S)

    async def collecting(self) -> int:
        """Wait until every market's seconds are complete; the newest of them."""
        await eventually(lambda: self.listener.traded() >= MARKETS.keys())
        await eventually(lambda: self.listener.newest not in self.listener.missing())
        return self.listener.newest

    async def passed(self, second: int, timeout_s: float = 60.0) -> None:
        await eventually(lambda: self.listener.newest >= second, timeout_s)

    async def health(self) -> dict[str, Any]:
        async with self.http.get("/health") as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def healthy(self, test: Callable[[dict[str, Any]], object], timeout_s: float) -> float:
        """Wait until `test` of the health page is true; seconds it took, by the package's clock."""
        begin = clock.monotonic()
        async with asyncio.timeout(timeout_s):
            while True:
                if test(await self.health()):
                    return clock.monotonic() - begin
                await asyncio.sleep(0.1)

    def memory(self) -> int:
        """Bytes the collector has in memory."""
        text = Path(f"/proc/{self.collector.pid}/status").read_text(encoding="ascii")
        return int(text.split("VmRSS:")[1].split()[0]) * 1024

    async def wrong(self, from_s: int, to_s: int) -> list[str]:
        """Bars of [from_s, to_s) in InfluxDB that are not those of the venue's tape."""
        stored: dict[str, dict[int, Bar]] = {market: {} for market in MARKETS}
        for row in await self.influx.query("SELECT * FROM aggr_1s.trades_1s"):
            stored[row["market"]][row["time"]] = Bar(**row)
        found = []
        for market, symbol in MARKETS.items():
            for second, true in self.venue.bars(market, symbol, from_s, to_s).items():
                bar = stored[market].get(second)
                if bar is None or (bar.cbuy, bar.csell) != (true.cbuy, true.csell):
                    found.append(f"{market} {second}: tape {true}, stored {bar}")
                elif abs(bar.vbuy + bar.vsell - true.vbuy - true.vsell) > 1e-6:
                    found.append(f"{market} {second}: volumes {true}, stored {bar}")
        return found

    async def lost_nothing(self, from_s: int, to_s: int) -> None:
        """Wait until all is stored, and compare it with the tape and the bus."""
        await self.passed(to_s + 2)
        await self.healthy(lambda h: h["spool"]["waiting_s"] <= 1, 20)
        assert await self.wrong(from_s, to_s - 1) == []
        self.uninterrupted(from_s, to_s)

    def uninterrupted(self, from_s: int, to_s: int) -> None:
        """Every second has been published, each soon after it ended."""
        messages = [m for m in self.listener.messages if from_s <= m.second < to_s]
        assert [m.second for m in messages] == list(range(from_s, to_s))
        late = max(m.published_ms - (m.second + 1) * 1000 for m in messages)
        assert late < 1000 * max(2.0, clock._speed * 0.5), late


@asynccontextmanager
async def rig(
    folder: Path,
    redis: Redis,
    redis_port: int,
    influx_port: int,
    *,
    prefix: Sequence[str] = (),
    **more: str,
) -> AsyncIterator[Rig]:
    settings = InfluxSchemaSettings(influx_port=influx_port)
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    env = {
        "REDIS_PORT": str(redis_port),
        "INFLUX_PORT": str(influx_port),
        "AGGR_SYMBOLS": ",".join(BASES),
        **more,
    }
    async with (
        Venue(*MARKETS.values()).running() as venue,
        Listener().listening(redis) as listener,
        InfluxClient(Connections(influx_port=influx_port)) as influx,
    ):
        collector = CollectorProcess(venue, folder, env, prefix)
        made = Rig(venue, collector, listener, influx)
        collector.start()
        try:
            yield made
        finally:
            await made.http.close()
            collector.kill()


async def outage(
    made: Rig, server: InfluxServer, way: str, *, seconds: int, per_s: float
) -> tuple[float, int]:
    """Break InfluxDB for `seconds`; how long the collector took to catch up, and its growth."""
    trading = asyncio.create_task(made.trade(per_s))
    try:
        begin_s = await made.collecting()
        await made.passed(begin_s + 15)
        await made.healthy(lambda h: h["influx"]["connected"], 20)
        before = made.memory()
        {"killed": server.kill, "frozen": server.pause}[way]()
        broken_s = now_s()
        await made.passed(broken_s + 60, 90)
        answer = await made.health()
        assert (answer["status"], "InfluxDB is away" in answer["problems"]) == ("degraded", True)
        await made.passed(broken_s + seconds, seconds + 60)
        grown = made.memory() - before
        waiting = (await made.health())["spool"]["waiting_s"]
        assert waiting >= seconds - 15
        {"killed": server.start, "frozen": server.resume}[way]()
        back_s = now_s()
        took = await made.healthy(lambda h: h["spool"]["waiting_s"] <= 3, 90)
        end_s = now_s()
        await made.passed(end_s + 10)
    finally:
        trading.cancel()
    await made.passed(now_s() + 20)
    await made.healthy(lambda h: h["spool"]["waiting_s"] <= 3, 30)
    assert back_s > broken_s
    assert (await made.wrong(begin_s, end_s)) == []
    made.uninterrupted(begin_s, end_s)
    return took, grown


@pytest.mark.alone
@pytest.mark.timeout(150)
@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_c3_c4_five_minutes_without_a_database(
    tmp_path: Path,
    redis: Redis,
    redis_port: int,
    own_influx: InfluxServer,
    fast_clock: str,
    way: str,
) -> None:
    async with rig(
        tmp_path, redis, redis_port, own_influx.port, SIMULATED_CLOCK=fast_clock
    ) as made:
        took, grown = await outage(made, own_influx, way, seconds=300, per_s=600)
    print(f"caught up in {took:.0f} s, memory grew by {grown / 1e6:.1f} MB")
    assert took < CAUGHT_UP_S
    assert grown < MEMORY_BYTES


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_c3_c4_five_minutes_without_a_database_at_1000_trades_a_second(
    tmp_path: Path, redis: Redis, redis_port: int, own_influx: InfluxServer, way: str
) -> None:
    async with rig(tmp_path, redis, redis_port, own_influx.port) as made:
        took, grown = await outage(made, own_influx, way, seconds=300, per_s=1000)
    print(f"caught up in {took:.0f} s, memory grew by {grown / 1e6:.1f} MB")
    assert took < CAUGHT_UP_S
    assert grown < MEMORY_BYTES


async def test_c4_three_seconds_of_refusal_cost_nothing(
    tmp_path: Path, redis: Redis, redis_port: int, own_influx: InfluxServer
) -> None:
    async with rig(tmp_path, redis, redis_port, own_influx.port) as made:
        trading = asyncio.create_task(made.trade(500))
        try:
            begin_s = await made.collecting()
            await made.healthy(lambda h: h["influx"]["connected"], 20)
            own_influx.kill()
            await asyncio.sleep(3)
            own_influx.start()
            took = await made.healthy(
                lambda h: h["influx"]["connected"] and h["spool"]["waiting_s"] <= 1, 40
            )
            end_s = now_s()
        finally:
            trading.cancel()
        assert took < CAUGHT_UP_S
        await made.lost_nothing(begin_s, end_s)


async def test_c5_killed_while_the_database_is_away_it_stores_everything_later(
    tmp_path: Path, redis: Redis, redis_port: int, own_influx: InfluxServer
) -> None:
    async with rig(tmp_path, redis, redis_port, own_influx.port) as made:
        trading = asyncio.create_task(made.trade(300))
        try:
            begin_s = await made.collecting()
            await made.healthy(lambda h: h["influx"]["connected"], 20)
            own_influx.kill()
            await made.passed(now_s() + 5)
            made.collector.kill()
            killed_s = now_s()
            made.collector.start()
            await made.passed(killed_s + 5)
            own_influx.start()
            await made.passed(now_s() + 3)
            await made.healthy(lambda h: h["influx"]["connected"], 30)
            await eventually(lambda: made.listener.newest not in made.listener.missing())
            back_s = made.listener.newest
            await made.passed(back_s + 4)
        finally:
            trading.cancel()
        await made.healthy(lambda h: h["spool"]["waiting_s"] <= 1, 20)
        # What nobody collected meanwhile is a gap until the exchange has told it, which takes time.
        assert await made.wrong(begin_s, killed_s - 3) == []
        assert await made.wrong(back_s, back_s + 3) == []


def _mounting(folder: Path, size: str) -> list[str]:
    """A command that becomes another with a small disk at `folder` of its own."""
    script = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def _can_mount(folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run([*_mounting(folder, "1m"), "true"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


async def test_c6_a_disk_that_takes_nothing_more(
    tmp_path: Path, redis: Redis, redis_port: int, own_influx: InfluxServer
) -> None:
    async with rig(tmp_path, redis, redis_port, own_influx.port) as made:
        trading = asyncio.create_task(made.trade(500))
        try:
            begin_s = await made.collecting()
            await made.healthy(lambda h: h["spool"]["bytes"] > 10_000, 30)
            size = made.collector.log.stat().st_size + 3000
            limits = resource.prlimit(made.collector.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(made.collector.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
            alarmed = await made.healthy(lambda h: h["spool"]["trouble"], 20)
            answer = await made.health()
            assert answer["status"] == "degraded"
            assert any("cannot be written" in text for text in answer["problems"])
            own_influx.kill()
            await made.passed(now_s() + 5)
            assert (await made.health())["status"] == "failed"
            own_influx.start()
            await made.passed(now_s() + 3)
            resource.prlimit(made.collector.pid, resource.RLIMIT_FSIZE, limits)
            recovered = await made.healthy(lambda h: h["status"] == "ok", 40)
            end_s = now_s()
        finally:
            trading.cancel()
        await made.lost_nothing(begin_s, end_s)
        assert made.collector.is_alive
        log = made.collector.log.read_text()
        assert "level=ERROR" in log
        assert "spool cannot be written" in log
        assert "spool can be written again" in log
    print(f"alarm after {alarmed:.1f} s, well again after {recovered:.1f} s")
    assert alarmed <= 5


async def test_c6_a_full_disk_gives_up_what_is_stored_already(
    tmp_path: Path, redis: Redis, redis_port: int, own_influx: InfluxServer
) -> None:
    """On a real small disk where the machine lets one be mounted, else with a small spool."""
    data = tmp_path / "data"
    mounted = _can_mount(data)
    prefix = _mounting(data, "1m") if mounted else []
    more = {} if mounted else {"AGGR_SPOOL_MAX_BYTES": str(1 << 20)}
    async with rig(
        tmp_path, redis, redis_port, own_influx.port, prefix=prefix, AGGR_DATA_DIR=str(data), **more
    ) as made:
        trading = asyncio.create_task(made.trade(500))
        try:
            begin_s = await made.collecting()
            await made.healthy(lambda h: h["influx"]["connected"], 20)
            filler = Path(f"/proc/{made.collector.pid}/root{data}/filler")
            if mounted:
                await asyncio.to_thread(_fill, filler)
                await made.healthy(lambda h: h["spool"]["trouble"], 5)
            await made.passed(now_s() + 3)
            if mounted:
                await asyncio.to_thread(filler.unlink)
            await made.healthy(lambda h: h["status"] == "ok", 40)
            end_s = now_s()
        finally:
            trading.cancel()
        await made.lost_nothing(begin_s, end_s)
        assert made.collector.is_alive


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
