"""D3: thirty days of 200 markets in InfluxDB: its series, memory, disk, and how fast it answers."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from aggr_server.influx import InfluxClient, Row
from aggr_server.settings import Connections
from aggr_server.wire import TIMEFRAMES, Market
from scripts.stack.layout import Layout
from scripts.stack.running import StackError
from services import influx_init
from services.core import schema
from services.core.settings import InfluxSchemaSettings
from services.market.history import History, any_of, within
from services.trading.loader import SCALE_MINUTES
from tests.bench.flooding.rig import percentile
from tests.bench.storing.filling import SPOT, VENUES, Filling, markets
from tests.integration.stack_influx import StackInflux

MARKETS = 200
DAYS = float(os.environ.get("BENCH_DAYS", "30"))
LOADS = int(os.environ.get("BENCH_LOADS", "60"))
WINDOW_S = 4 * 3600
MINUTES_AT_LEAST = 0.95 * SCALE_MINUTES if DAYS >= 2 else 0
IDLE_S = 1.0
SETTLE_AT_MOST_S = 300.0
AT_ONCE = 'cache-snapshot-write-cold-duration = "10s"\ncompact-full-write-cold-duration = "60s"\n'
"""While filling: what is written is put away at once, as it has long been in a month's run."""


def run() -> dict[str, Any]:
    """Fill InfluxDB, configured as `up.sh` does, with all that retention would hold; then ask it.

    One-second bars as long as they are kept, longer ones for BENCH_DAYS (30 by default), a bar of
    every market in each step: more than any real market has. `points`: written. `rss_mb`: the most
    seen after a restart, while the bars of 200 markets come in each second, continuous queries run
    and symbols are loaded; `rss_anon_mb`: of it, what are not files the kernel may drop.
    `chart_4h_*_ms`: a query of one market's 4 hours, second by second; `cvd_4h_*_ms`: one that sums
    up the same seconds of a symbol's spot or perpetual markets by minutes. `query_*_ms`: the
    queries of strategy-runner's loader for a symbol's 4 hours of one-second bars, each on its own;
    `seconds_4h_*_ms`: all of them and their decoding; `minutes_*_ms`: the queries of the 28 hours
    of minutes. `system_load`: with more than there are processors, times say more
    of these than of InfluxDB.
    """
    folder = Path(tempfile.mkdtemp(prefix="month-"))
    server = StackInflux(_layout(folder), auth=False, extra=AT_ONCE)
    server.start()
    try:
        return _measured(server)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _layout(folder: Path) -> Layout:
    layout = Layout(folder, demo=False)
    layout.prepare()
    return layout


def _measured(server: StackInflux) -> dict[str, Any]:
    settings = InfluxSchemaSettings(influx_port=server.port)
    _schema(settings)
    filling = Filling(server.port, settings.influx_database, markets(MARKETS))
    began = time.monotonic()
    end = _fill(filling, settings)
    took = time.monotonic() - began
    _settled(server)
    server.stop()
    server.extra = ""
    began = time.monotonic()
    server.start()
    opened = time.monotonic() - began
    with _memory(server.pid) as memory, _live(filling):
        asked = asyncio.run(_asked(server.port, filling.markets, end))
    return {
        "points": filling.points,
        "points_per_s": round(filling.points / took),
        "series": asked.pop("series"),
        "disk_mb": round(_disk_bytes(server.folder) / 1e6),
        "start_s": round(opened, 1),
        **{f"{name}_mb": round(most / 1e6) for name, most in memory.items()},
        "system_load": round(os.getloadavg()[0], 1),
        **asked,
    }


def _schema(settings: InfluxSchemaSettings) -> None:
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)


def _fill(filling: Filling, settings: InfluxSchemaSettings) -> int:
    """Longer bars first, the seconds last; the second after the last one."""
    for timeframe in reversed(TIMEFRAMES[1:]):
        end = int(time.time()) // timeframe.seconds * timeframe.seconds
        filling.bars(timeframe, end - int(DAYS * 86_400) + timeframe.seconds, end)
    end = int(time.time())
    filling.rest(end - int(DAYS * 86_400) + 60, end)
    kept_s = min(DAYS * 86_400, schema.duration_s(settings.influx_retention_1s))
    begin = end - int(kept_s) + 60
    while begin < (end := int(time.time())):
        filling.bars(TIMEFRAMES[0], begin, end)
        begin = end
    return end


def _settled(server: StackInflux) -> None:
    """Wait until the write-ahead log is put away and nothing is compacted any more."""
    deadline = time.monotonic() + SETTLE_AT_MOST_S
    while time.monotonic() < deadline:
        before = _cpu_s(server.pid)
        time.sleep(30)
        if _cpu_s(server.pid) - before < IDLE_S:
            return


def _cpu_s(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


@contextmanager
def _memory(pid: int) -> Iterator[dict[str, int]]:
    """The most that the process takes meanwhile, in bytes."""
    most, over = {"rss": 0, "rss_anon": 0}, threading.Event()

    def watch() -> None:
        status = Path(f"/proc/{pid}/status")
        while not over.wait(0.5):
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            for name, key in (("rss", "VmRSS"), ("rss_anon", "RssAnon")):
                most[name] = max(most[name], int(lines[key].split()[0]) * 1024)

    with _beside(watch, over):
        yield most


@contextmanager
def _live(filling: Filling) -> Iterator[None]:
    """The bars of each second come in, as from a collector."""
    over = threading.Event()

    def collect() -> None:
        while not over.wait(1 - time.time() % 1):
            filling.bars(TIMEFRAMES[0], int(time.time()) - 1, int(time.time()))

    with _beside(collect, over):
        yield


@contextmanager
def _beside(work: Callable[[], None], over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Timed(InfluxClient):
    """Notes how long each query took."""

    def __init__(self, settings: Connections) -> None:
        super().__init__(settings, timeout_s=60.0)
        self.taken_ms: list[int] = []

    async def query(self, text: str, *, epoch: str = "s") -> list[Row]:
        began = time.perf_counter()
        try:
            return await super().query(text, epoch=epoch)
        finally:
            self.taken_ms.append(round((time.perf_counter() - began) * 1000))


async def _asked(port: int, found: Sequence[Market], end: int) -> dict[str, Any]:
    """Load symbol after symbol, as strategy-runner does when it starts."""
    symbols = [found[i : i + len(VENUES)] for i in range(0, len(found), len(VENUES))]
    kinds = ("chart_4h", "cvd_4h", "query", "seconds_4h", "minutes")
    taken: dict[str, list[int]] = {kind: [] for kind in kinds}
    influx = _Timed(Connections(influx_port=port))
    async with influx:
        series = await _series(influx)
        history = History(influx)
        for number in range(LOADS):
            chosen = symbols[number % len(symbols)]
            influx.taken_ms = taken["chart_4h"]
            for market in chosen:
                await _chart(influx, market, end)
            influx.taken_ms = taken["cvd_4h"]
            await history.newest_table(chosen, chosen[SPOT], end - WINDOW_S, end)
            influx.taken_ms = taken["query"]
            began = time.perf_counter()
            bars = await history.bars(chosen, end - WINDOW_S, end)
            taken["seconds_4h"].append(round((time.perf_counter() - began) * 1000))
            influx.taken_ms = taken["minutes"]
            table = await history.table(chosen, chosen[SPOT], end - SCALE_MINUTES * 60, end)
            if len(bars) < WINDOW_S * len(chosen) or len(table.prices) < MINUTES_AT_LEAST:
                raise StackError(f"month: {len(bars)} seconds, {len(table.prices)} minutes")
    return {
        "series": series,
        **{
            f"{name}_{label}_ms": percentile(sorted(values), share)
            for name, values in taken.items()
            for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
    }


async def _chart(influx: InfluxClient, market: Market, end: int) -> None:
    seconds = TIMEFRAMES[0]
    rows = await influx.query(
        f'SELECT close, vbuy, vsell FROM "{seconds.retention_policy}"."{seconds.measurement}" '
        f"WHERE {within(end - WINDOW_S, end)} AND {any_of([market])}"
    )
    if len(rows) < WINDOW_S:
        raise StackError(f"month: {len(rows)} seconds of {market.market}")


async def _series(influx: InfluxClient) -> int:
    # What it counts exactly, it counts once for each of its groups of files.
    [counted] = await influx.query("SHOW SERIES CARDINALITY")
    return int(counted["cardinality estimation"])


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
