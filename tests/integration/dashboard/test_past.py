"""The past, against what is stored."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from aggr_server.wire import Bar
from services.core.schema import rebuild_statements
from services.dashboard.past import STEPS
from tests.bench.paging.market import Coin
from tests.integration.dashboard.rig import KIND, Feed, PageProcess, now_s, page, sums

HOURS = 9
FLOWS = ("spot", "perp", "spot_volume", "perp_volume", "lbuy", "lsell")


def recorded(to_s: int) -> list[Bar]:
    """Bars of some seconds in minutes that were not silent altogether."""
    rng, coin = random.Random(4), Coin("BTC", 4)
    seconds = [t for t in range(to_s - HOURS * 3600, to_s) if rng.random() < 0.08]
    return [bar for t in seconds for bar in coin.second(t) if t // 60 % 11]


async def test_bars_of_every_length_are_the_sums_of_what_is_stored(
    feed: Feed, connection_env: dict[str, str], tmp_path: Path
) -> None:
    now = now_s() - 5
    bars = recorded(now)
    await feed.list_markets(["BTC"])
    await feed.write(bars)
    for statement in rebuild_statements(connection_env["INFLUX_DATABASE"], bars[0].time, now):
        await feed.influx.query(statement)
    async with page(connection_env, tmp_path, AGGR_SYMBOLS="BTC") as running:
        async with running.browser() as browser:
            await browser.until(lambda m: m["type"] == "board" and m["rows"][0]["change_4h"])
        for step in STEPS:
            from_s = now - min(4000 * step, (HOURS + 8) * 3600 if step >= 60 else 4 * 3600 - 60)
            found = await running.history(step, from_s, now)
            check(found, bars, step)
            assert found["t"][0] <= from_s < now <= found["t"][-1] + step
        # The CVD as the page adds it up: over the hours that are shown.
        found = await running.history(5, now - 4 * 3600, now)
        for kind in ("spot", "perp"):
            expected = await stored_delta(feed, kind, found["t"][0], now)
            assert sum(found[kind]) == pytest.approx(expected, abs=0.005 * len(found["t"]))
        assert found["complete_from"] <= now - 4 * 3600 + 60


def check(found: dict[str, Any], bars: list[Bar], step: int) -> None:
    by_start: dict[int, list[Bar]] = {}
    for bar in bars:
        by_start.setdefault(bar.time - bar.time % step, []).append(bar)
    assert found["t"] == list(range(found["t"][0], found["t"][-1] + 1, step))
    for i, t in enumerate(found["t"]):
        expected = sums(by_start.get(t, []))
        for name in FLOWS:
            assert found[name][i] == pytest.approx(expected[name], rel=1e-9, abs=0.0051), (step, t)
        prices = [found[name][i] for name in ("open", "high", "low", "close")]
        assert prices == (expected["bar"] or [None] * 4), (step, t)


async def stored_delta(feed: Feed, kind: str, from_s: int, to_s: int) -> float:
    names = " OR ".join(f"\"market\" = '{m}'" for m, of in KIND.items() if of == kind)
    [row] = await feed.influx.query(
        "SELECT sum(vbuy) AS buy, sum(vsell) AS sell FROM aggr_1s.trades_1s "
        f"WHERE time >= {from_s}s AND time < {to_s}s AND ({names})"
    )
    return float(row["buy"] - row["sell"])


async def test_open_interest_and_markers_are_what_is_stored(
    feed: Feed, connection_env: dict[str, str], tmp_path: Path
) -> None:
    now = now_s()
    samples = {now - 3600 + 60 * i: 1_000.0 + i for i in range(50)}
    await feed.influx.write(
        "open_interest,symbol=BTCUSDT,exchange=FUTURES_AGG,aggregate_type=FUTURES_AGG "
        f"coins={v} {t}"
        for t, v in samples.items()
    )
    await feed.influx.write(
        [
            f'strategy_signals,symbol=BTCUSDT,action=LONG signal_id="a",score=6.5,'
            f'entry_price=100.0,outcome="profitable",reasoning="why" {now - 100}',
            f'strategy_signals,symbol=ETHUSDT,action=LONG signal_id="b",score=5.0 {now - 100}',
        ]
    )
    async with page(connection_env, tmp_path) as running:
        found = await running.history(60, now - 3600, now)
        assert dict(zip(found["oi_t"], found["oi_coins"], strict=True)) == samples
        [signal] = found["markers"]["signals"]
        assert (signal["signal_id"], signal["ts_ms"]) == ("a", (now - 100) * 1000)
        assert (signal["status"], signal["score"]) == ("profitable", 6.5)

        longer = await running.history(900, now - 3600, now)
        last_of = {t - t % 900: v for t, v in samples.items()}
        assert dict(zip(longer["oi_t"], longer["oi_coins"], strict=True)) == last_of
        await bad_questions_are_refused(running)


async def bad_questions_are_refused(running: PageProcess) -> None:
    for query in ("", "symbol=BTCUSDT&step=7&from=1&to=2", "symbol=%00"):
        async with running.session.get(f"{running.url}/api/history?{query}") as answer:
            assert answer.status == 400
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert await answer.text()
