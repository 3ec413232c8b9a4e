"""Live seconds, against what the collectors published and wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.points import bar_line
from aggr_server.settings import Connections
from aggr_server.wire import CHANNEL, Bar, Gap
from services import influx_init
from services.core.settings import InfluxSchemaSettings
from tests.bench.paging.market import Coin
from tests.integration.dashboard.rig import (
    KIND,
    REFERENCE,
    Browser,
    Feed,
    heard,
    now_s,
    page,
    rounded,
    sums,
)
from tests.integration.servers import InfluxServer, RedisServer


async def says(browser: Browser, t: int, bars: Sequence[Bar]) -> dict[str, Any]:
    """Wait until the page has second `t` as it follows from `bars`."""
    expected = rounded(sums(bars))

    def same(message: dict[str, Any]) -> bool:
        if message["type"] != "second" or message["t"] != t:
            return False
        found = {name: message[name] for name in expected}
        return (
            found == pytest.approx(expected, abs=0.0051)
            if expected["bar"] is None
            else (
                found.pop("bar") == expected["bar"]
                and found
                == pytest.approx({k: v for k, v in expected.items() if k != "bar"}, abs=0.0051)
            )
        )

    return await browser.until(same)


async def ready(feed: Feed, browser: Browser) -> None:
    """Wait until the page listens and has read the past, of which there is a second."""
    await heard(feed.redis, CHANNEL, 1)
    await browser.until(lambda m: m["type"] == "board" and m["rows"][0]["price"] is not None)


@pytest.fixture
async def past_second(influx: InfluxClient) -> int:
    """A second of the past, the only one that is stored."""
    t = now_s() - 600
    await influx.write([bar_line(bar) for bar in full(t)], retention_policy="aggr_1s")
    return t


def full(t: int) -> list[Bar]:
    """Bars of a second, that of the reference among them."""
    coin = Coin("BTC", 1)
    while True:
        bars = coin.second(t)
        if any(bar.market == REFERENCE for bar in bars):
            return bars


async def test_seconds_amendments_and_further_collectors_reach_the_page(
    feed: Feed, past_second: int, connection_env: dict[str, str], tmp_path: Path
) -> None:
    await feed.list_markets()
    async with page(connection_env, tmp_path) as running, running.browser() as browser:
        await ready(feed, browser)
        coin, t = Coin("BTC", 2), now_s() - 1
        first, second = coin.second(t), coin.second(t + 1)
        await feed.publish(t, collector="aggr-2")
        await feed.publish(t, first)
        await says(browser, t, first)

        # Two collectors share the markets.
        half = len(second) // 2
        await feed.publish(t + 1, second[:half])
        await says(browser, t + 1, second[:half])
        await feed.publish(t + 1, second[half:], collector="aggr-2")
        await says(browser, t + 1, second)

        late = [
            *first[:-1],
            Bar(*(first[-1].time, first[-1].market, 1.0, 9.0, 1.0, 9.0, 7.0, 2.0, 1, 1, 0.0, 0.0)),
        ]
        await feed.publish(t + 2, amended=late[-1:])
        await says(browser, t, late)
        await says(browser, t + 2, [])

        volume = {m: 0.0 for m in KIND}
        for bar in (*late, *second):
            volume[bar.market] += bar.vbuy + bar.vsell
        venues = await browser.until(
            lambda m: m["type"] == "venues" and m["t"] >= t + 2 and bool(m["flows"]["60"])
        )
        found = {f["exchange"]: f["vbuy"] + f["vsell"] for f in venues["flows"]["60"]}
        expected = {m.partition(":")[0]: v for m, v in volume.items() if v}
        assert found == pytest.approx(expected, abs=0.02)


async def test_whoever_begins_to_watch_is_told_the_newest_second_at_once(
    feed: Feed, past_second: int, connection_env: dict[str, str], tmp_path: Path
) -> None:
    await feed.list_markets()
    async with page(connection_env, tmp_path) as running:
        bars = full(now_s() - 1)
        async with running.browser() as browser:
            await ready(feed, browser)
            await feed.publish(bars[0].time, bars)
            await says(browser, bars[0].time, bars)
            # Nothing is closed after it.
            async with running.browser() as later:
                await says(later, bars[0].time, bars)


async def test_seconds_that_were_not_heard_are_read_back(
    feed: Feed, past_second: int, connection_env: dict[str, str], tmp_path: Path
) -> None:
    await feed.list_markets()
    async with page(connection_env, tmp_path) as running, running.browser() as browser:
        await ready(feed, browser)
        coin, t = Coin("BTC", 3), now_s() - 1
        bars = [coin.second(t + i) for i in range(4)]
        await feed.publish(t, bars[0])
        await says(browser, t, bars[0])

        for each in bars:
            await feed.write(each)
        await feed.publish(t + 3, bars[3], skip=2)

        for i in range(4):
            await says(browser, t + i, bars[i])


async def test_while_redis_is_away_the_page_goes_by_what_is_written(
    own_redis: RedisServer,
    past_second: int,
    influx: InfluxClient,
    connections: Connections,
    connection_env: dict[str, str],
    tmp_path: Path,
) -> None:
    environ = {**connection_env, "REDIS_PORT": str(own_redis.port)}
    coin = Coin("BTC", 6)
    async with Redis(port=own_redis.port) as redis:
        feed = Feed(redis, influx)
        await feed.list_markets()
        async with page(environ, tmp_path) as running, running.browser() as browser:
            await ready(feed, browser)
            t = now_s() - 1
            bars = coin.second(t)
            await feed.publish(t, bars)
            await says(browser, t, bars)

            browser.seen.clear()
            own_redis.kill()
            trouble = await browser.until(lambda m: "Redis" in m.get("problems", {}))
            assert trouble["problems"]["Redis"]
            browser.seen.clear()
            unheard = coin.second(t + 1)
            await feed.write(unheard)
            await says(browser, t + 1, unheard)

            own_redis.start()
            await feed.list_markets()
            await ready(feed, browser)
            again = now_s() - 1
            bars = coin.second(again)
            await feed.publish(again, bars)
            await says(browser, again, bars)
            await browser.until(lambda m: "Redis" not in m.get("problems", {"Redis": ""}))


async def test_history_comes_as_soon_as_influxdb_does(
    own_influx: InfluxServer, redis: Redis, connection_env: dict[str, str], tmp_path: Path
) -> None:
    settings = InfluxSchemaSettings(influx_port=own_influx.port, influx_database="page")
    with influx_init.connect(settings) as client:
        influx_init.apply_schema(client, settings, report=lambda _: None)
    coin, t = Coin("BTC", 7), now_s() - 600
    old = coin.second(t)
    async with InfluxClient(settings) as influx:
        feed = Feed(redis, influx)
        await feed.write(old)
    await feed.list_markets()
    own_influx.kill()
    environ = {
        **connection_env,
        "INFLUX_PORT": str(own_influx.port),
        "INFLUX_DATABASE": "page",
    }
    async with page(environ, tmp_path) as running, running.browser() as browser:
        await heard(redis, CHANNEL, 1)
        # The history is asked for, in vain, when the markets are known.
        await browser.until(lambda m: "/query" in m.get("problems", {}).get("InfluxDB", ""))
        live = full(now_s())
        await feed.publish(live[0].time, live)
        await says(browser, live[0].time, live)
        found = await running.history(1, t, now_s() + 1)
        assert sum(found["spot_volume"]) == pytest.approx(sums(live)["spot_volume"], abs=0.01)

        own_influx.start()

        await says(browser, t, old)


async def test_what_is_amended_long_after_its_second_is_read_back(
    feed: Feed, past_second: int, connection_env: dict[str, str], tmp_path: Path
) -> None:
    await feed.list_markets()
    coin, old, t = Coin("BTC", 8), now_s() - 1_000, now_s() - 800
    single = coin.second(old)
    await feed.write(single[:-1])
    async with page(connection_env, tmp_path) as running, running.browser() as browser:
        await ready(feed, browser)
        await feed.write(single)
        await feed.publish(now_s() - 1, amended=single[-1:])
        await says(browser, old, single)

        # A long past that changes is not sent second by second.
        bars = [coin.second(t + i) for i in range(300)]
        await feed.write([bar for each in bars for bar in each])
        browser.seen.clear()
        await feed.publish(now_s() - 1, amended=[*bars[0], *bars[299]])
        revised = await browser.block("revised", symbol="BTCUSDT")
        assert old - 60 <= revised["from_t"] <= t
        found = await running.history(1, t, t + 300)
        for i in (0, 150, 299):
            assert found["spot"][i] == pytest.approx(sums(bars[i])["spot"], abs=0.0051)


async def test_gaps_of_the_watched_symbol_are_listed_while_they_go_on(
    feed: Feed, past_second: int, connection_env: dict[str, str], tmp_path: Path
) -> None:
    await feed.list_markets()
    async with page(connection_env, tmp_path) as running, running.browser() as browser:
        await ready(feed, browser)
        await browser.block("gaps", rows=[])
        t = now_s() - 1
        gaps = [
            Gap("BYBIT:btcusdt", t - 40, t, "disconnect"),
            Gap("BYBIT:ethusdt", t - 40, t, "disconnect"),
        ]
        await feed.publish(t, gaps=gaps)
        shown = await browser.until(lambda m: m["type"] == "gaps" and bool(m["rows"]))
        assert shown["rows"] == [
            {
                "market": "BYBIT:btcusdt",
                "from_s": t - 40,
                "to_s": t,
                "reason": "disconnect",
                "open": True,
            }
        ]
        # What was missed has been fetched.
        await feed.publish(t + 1, gaps=[Gap("BYBIT:btcusdt", t - 40, t - 40, "disconnect")])
        seen = len(browser.seen)
        while not any(m["type"] == "gaps" and not m["rows"] for m in browser.seen[seen:]):
            async with asyncio.timeout(20):
                await browser.next()
