"""What the collector answers over HTTP, as the charting client and Prometheus ask for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from redis.asyncio import Redis
from yarl import URL

from tests.integration.aggr_server.process import (
    MARKET,
    SYMBOL,
    CollectorProcess,
    Listener,
    eventually,
    now_s,
)
from tests.integration.aggr_server.venue import Venue
from tests.integration.children import bare
from tests.integration.servers import ROOT

OTHER = "BINANCE:ethusdt"


class Page:
    """A running collector of two markets, asked over HTTP."""

    def __init__(self, venue: Venue, collector: CollectorProcess, listener: Listener) -> None:
        self.venue = venue
        self.listener = listener
        self.collector = collector
        self.http = aiohttp.ClientSession()

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and answer; `path` is sent as it is."""
        url = URL(self.collector.url + path, encoded=True)
        async with self.http.get(url, headers={"Origin": "https://charts.example"}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    async def metric(self, line: str) -> float:
        """The value of one line of /metrics."""
        _, text = await self.get("/metrics")
        return float(next(t for t in text.splitlines() if t.startswith(line + " ")).split()[-1])

    async def complete(self) -> bool:
        """Whether both markets are followed without a gap at present."""
        _, markets = await self.get("/markets")
        return len(markets) == 2 and all(market["complete"] for market in markets)

    async def traded(self, symbol: str, market: str, *prices: float) -> int:
        """Trade, and return the second of the last trade when its bar is out."""
        for price in prices:
            second = now_s()
            await self.venue.trade(symbol, second * 1000, price, 2.0, True)

        def out() -> bool:
            bars = [b for m in self.listener.messages for b in (*m.bars, *m.amended)]
            return any(b.market == market and b.time == second for b in bars)

        await eventually(out)
        return second


@pytest.fixture
async def page(tmp_path: Path, connection_env: dict[str, str], redis: Redis) -> AsyncIterator[Page]:
    async with Venue(SYMBOL, "ETHUSDT").running() as venue, Listener().listening(redis) as listener:
        env = {**connection_env, "AGGR_SYMBOLS": "BTC,ETH"}
        collector = CollectorProcess(venue, tmp_path, env)
        collector.start()
        made = Page(venue, collector, listener)
        try:
            await eventually(lambda: listener.newest)
            await eventually(made.complete)
            await eventually(lambda: listener.newest not in listener.missing())
            yield made
        finally:
            await made.http.close()
            collector.kill()


@pytest.mark.parametrize("encode", [lambda text: text, lambda text: quote(text, safe="")])
async def test_the_charting_client_gets_its_markets_however_it_encodes_them(
    page: Page, encode: Any
) -> None:
    await page.traded(SYMBOL, MARKET, 100.0)
    second = await page.traded("ETHUSDT", OTHER, 10.0, 11.0)
    from_ms, to_ms = (second - 10) * 1000, (second + 10) * 1000
    markets = encode(f"{MARKET}+{OTHER}")
    status, answer = await page.get(f"/historical/{from_ms}/{to_ms}/1000/{markets}")
    assert (status, answer["format"]) == (200, "point")
    # The client takes the first column for the time, in seconds, and rows to be in order.
    assert answer["columns"]["time"] == 0
    wanted = {"cbuy", "close", "csell", "high", "lbuy", "low", "lsell", "market", "open"}
    assert wanted | {"vbuy", "vsell"} <= answer["columns"].keys()
    rows = answer["results"]
    assert {row[answer["columns"]["market"]] for row in rows} == {MARKET, OTHER}
    times = [row[0] for row in rows]
    assert times == sorted(times)
    assert all(second - 10 <= time <= second + 10 for time in times)
    _, one = await page.get(f"/historical/{from_ms}/{to_ms}/1000/{encode(OTHER)}")
    assert {row[one["columns"]["market"]] for row in one["results"]} == {OTHER}
    _, everything = await page.get(f"/historical/{from_ms}/{to_ms}/1000/")
    assert len(everything["results"]) == len(rows)


async def test_errors_are_told_as_the_client_expects_them(page: Page) -> None:
    for path in ("/historical/a/b/1000/X:y", "/historical/1/99999999999/1000/X:y", "/historical/"):
        status, answer = await page.get(path)
        assert status == 400
        assert isinstance(answer["error"], str)
    status, answer = await page.get("/historical/1000/2000/1000/NO:where")
    assert (status, answer) == (200, {"format": "point", "columns": {}, "results": []})


async def test_markets_say_how_they_are_doing(page: Page) -> None:
    await page.traded(SYMBOL, MARKET, *[100.0] * 30)
    status, answer = await page.get("/markets")
    assert status == 200
    assert [market["market"] for market in answer] == [MARKET, OTHER]
    busy, quiet = answer
    assert (busy["state"], busy["complete"], busy["gap_open"]) == ("live", True, False)
    assert (busy["exchange"], busy["base"], busy["quote"]) == ("BINANCE", "BTC", "USDT")
    assert (busy["contract_size"], busy["contract_unit"]) == (1.0, "BTC")
    assert busy["trades"] == 30
    assert 0 < busy["trades_per_s"] <= 30
    assert 0 <= busy["last_trade_age_s"] < 20
    assert (quiet["trades"], quiet["trades_per_s"], quiet["last_trade_ms"]) == (0, 0, None)
    assert all(feed.startswith("BINANCE/") for feed in busy["feeds"])
    # Nobody collected before it was started.
    assert {gap["reason"] for gap in quiet["gaps_24h"]} <= {"start"}

    page.venue.tells_past = False
    page.venue.refuses = True
    await page.venue.drop()

    async def broken() -> bool:
        market = (await page.get("/markets"))[1][0]
        return market["gap_open"] and market["state"] != "live" and not market["complete"]

    await eventually(broken)
    newest = page.listener.newest
    await eventually(lambda: page.listener.newest > newest + 2)
    market = (await page.get("/markets"))[1][0]
    gap = market["gaps_24h"][-1]
    # A gap that begins inside one that is not fetched yet goes on as that one.
    assert gap["reason"] in ("disconnect", "start")
    assert market["gap_seconds_24h"] >= gap["to_s"] - gap["from_s"] >= 2
    assert market["problem"]
    page.venue.refuses = False

    async def well() -> bool:
        return bool((await page.get("/markets"))[1][0]["complete"])

    await eventually(well)


async def test_prometheus_sees_each_venue(page: Page) -> None:
    await page.traded(SYMBOL, MARKET, 100.0, 101.0, 102.0)
    await page.venue.again(1)
    await page.venue.send({"e": "aggTrade", "s": 7})

    async def counted() -> bool:
        return await page.metric('aggr_feed_parse_errors_total{exchange="BINANCE",feed=' + feed) > 0

    feed = (await page.get("/health"))[1]["feeds"][0]["feed"]
    feed = f'"{feed}"}}'
    await eventually(counted)
    labels = f'{{exchange="BINANCE",market="{MARKET}"}}'
    assert await page.metric(f"aggr_trades_total{labels}") == 3
    assert await page.metric(f"aggr_duplicates_total{labels}") == 1
    assert await page.metric('aggr_trade_lag_seconds_count{exchange="BINANCE"}') >= 1
    assert await page.metric(f'aggr_feed_reconnects_total{{exchange="BINANCE",feed={feed}') == 0
    assert await page.metric("aggr_spool_bytes") > 0
    assert await page.metric("aggr_spool_waiting_bytes") >= 0
    assert await page.metric("aggr_spool_writable") == 1
    assert await page.metric('aggr_gaps_open{exchange="BINANCE"}') == 0
    assert await page.metric("aggr_gaps_total") >= 2
    assert await page.metric("aggr_gap_seconds_recovered_total") >= 0
    assert await page.metric('aggr_recovery_failures_total{exchange="BINANCE"}') >= 0


async def test_a_second_collector_on_the_same_folder_is_refused(
    page: Page, tmp_path: Path, connection_env: dict[str, str]
) -> None:
    done = await asyncio.to_thread(_run, tmp_path / "data", connection_env)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = [t for t in done.stderr.decode().splitlines() if t.startswith("aggr-server: ")]
    assert f"in use by another collector (process {page.collector.pid})" in line
    assert "AGGR_DATA_DIR" in line


def test_an_unusable_folder_is_a_bad_setting(
    tmp_path: Path, connection_env: dict[str, str]
) -> None:
    (tmp_path / "file").write_text("")
    done = _run(tmp_path / "file", connection_env)
    assert done.returncode == 78
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("aggr-server: ")
    assert "AGGR_DATA_DIR" in line


def _run(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    paths = {**bare(), "PYTHONPATH": str(ROOT / "aggr-server")}
    return subprocess.run(
        [sys.executable, "-m", "aggr_server"],
        env={**paths, **env, "AGGR_EXCHANGES": "BINANCE", "AGGR_DATA_DIR": str(folder)},
        capture_output=True,
        timeout=50,
        check=False,
    )
