"""The live page: what a viewer costs the server, and how soon the chart is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from scripts.stack import browser
from scripts.stack.running import StackError
from tests.bench.flooding.rig import Stores
from tests.bench.paging.rig import Rig
from tests.browser.browser import browsing
from tests.integration.servers import ROOT

SECONDS = int(os.environ.get("BENCH_PAGE_S", "40"))
VIEWERS = 10
LOADS = 5
HOURS = 5
DISTURBED = "ERR_NETWORK_CHANGED"
"""What the browser says of a load while a network of this machine appears or goes."""


def run() -> dict[str, Any]:
    """health-monitor as it is, in a process of its own, on a real Redis and a real InfluxDB.

    Two symbols of ten markets, all blocks of the page changing as in operation: a second of bars
    and views each second, open interest, signals and alerts now and then. `cpu_percent_0`, `_1`,
    `_10`: CPU time of the process with so many viewers, percent of one core, over BENCH_PAGE_S
    seconds (40 by default) each. `cpu_percent_per_viewer`: the difference between ten and none,
    over ten. `bytes_per_s`: sent to each viewer over the websocket. `history_kb`: four hours of
    five-second bars as sent. `first_chart_ms`: from the beginning of the navigation in a real
    Chromium until the candles are painted, median of 5 loads, the first of them with an empty
    cache. `rss_mb`: memory of the process in the end.
    """
    program = browser.find(ROOT / ".local")
    if program is None:
        raise StackError("page: Chromium is neither on PATH nor in .local: run ./scripts/test.sh")
    folder = Path(tempfile.mkdtemp(prefix="page-"))
    stores = Stores(folder)
    try:
        stores.start()
        return asyncio.run(_measure(stores, folder, program))
    finally:
        stores.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(stores: Stores, folder: Path, program: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    async with Rig(stores, folder, hours=HOURS) as rig:
        loads = await _loads(program, rig.url)
        figures["first_chart_ms"] = round(statistics.median(loads))
        figures["history_kb"] = round(await _history(rig.url) / 1000, 1)
        process = psutil.Process(rig.pid)
        for count in (0, 1, VIEWERS):
            used, sent = await _look(process, rig.url, count)
            figures[f"cpu_percent_{count}"] = round(100 * used, 3)
            if count:
                figures["bytes_per_s"] = round(sent)
        figures["rss_mb"] = round(process.memory_info().rss / 1e6, 1)
    more = figures[f"cpu_percent_{VIEWERS}"] - figures["cpu_percent_0"]
    return {"cpu_percent_per_viewer": round(more / VIEWERS, 3), **figures}


async def _look(process: psutil.Process, url: str, count: int) -> tuple[float, float]:
    """CPU seconds of the server in each second, and bytes in each second to each viewer."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        sockets = [
            await stack.enter_async_context(session.ws_connect(f"{url}/live", origin=url))
            for _ in range(count)
        ]
        received = [0] * count
        reading = [
            asyncio.create_task(_read(socket, received, i)) for i, socket in enumerate(sockets)
        ]
        # What is sent once, at the beginning, is no part of it.
        await asyncio.sleep(7.0)
        before, began = list(received), time.monotonic()
        used = _cpu_s(process)
        await asyncio.sleep(SECONDS)
        took = time.monotonic() - began
        used = _cpu_s(process) - used
        sent = sum(received) - sum(before)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return used / took, sent / took / max(1, count)


async def _read(socket: aiohttp.ClientWebSocketResponse, received: list[int], i: int) -> None:
    await socket.send_json({"symbol": ("BTCUSDT", "ETHUSDT")[i % 2]})
    async for message in socket:
        received[i] += len(message.data)
    raise StackError(f"page: the server has closed the websocket with {socket.close_code}")


def _cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


async def _history(url: str) -> int:
    """Bytes of the first history that a page asks for, as they travel."""
    now = int(time.time())
    query = {"symbol": "BTCUSDT", "step": "5", "from": str(now - 14_400), "to": str(now)}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(f"{url}/api/history", params=query) as answer,
    ):
        return len(await answer.read())


async def _loads(program: str, url: str) -> list[float]:
    """Milliseconds until the chart is painted, of each load."""
    found: list[float] = []
    async with browsing(program) as tab:
        await tab.size(1440, 900)
        while len(found) < LOADS:
            await tab.send("Page.navigate", url=f"{url}/")
            try:
                await tab.until("performance.getEntriesByName('chart').length > 0")
            except AssertionError:
                if not any(DISTURBED in complaint for complaint in tab.complaints):
                    raise
                tab.complaints.clear()
                continue
            found.append(await tab.evaluate("performance.getEntriesByName('chart')[0].startTime"))
        if tab.complaints:
            raise StackError(f"page: the browser complains: {tab.complaints}")
    return found
