"""Every block of the page, against Redis, InfluxDB and freqtrade at that moment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from services.core import names
from services.core.alerts import tell
from services.core.records import (
    Alert,
    Halt,
    Heartbeat,
    OpenInterestShare,
    OpenInterestTotal,
    Signal,
)
from services.core.views import View, Views, Wait
from tests.integration.dashboard.rig import Browser, heard, page
from tests.integration.trading.freqtrade_double import FreqtradeDouble, trade
from tests.signals import entry_fields


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def entry(signal_id: str, ts_ms: int, symbol: str = "BTCUSDT") -> Signal:
    return Signal(
        **entry_fields(
            ts_ms, signal_id=signal_id, symbol=symbol, base_symbol=symbol[:3],
            pair=f"{symbol[:3]}/USDT:USDT", valid_until_ms=ts_ms + 5000,
            score_breakdown={"absorption_candle": 2.5}, max_deviation=0.002, stop_price=98.0,
            confidence=0.65, coverage=0.9, reasoning="spot bought",
        )
    )  # fmt: skip


async def test_what_stands_in_redis_and_influxdb_is_shown_as_it_stands(
    redis: Redis, influx: InfluxClient, connection_env: dict[str, str], tmp_path: Path
) -> None:
    ts_ms = now_ms() - 60_000
    alert = Alert(level="critical", code="gap", text="<b>no trades</b>", ts_ms=ts_ms)
    await told(redis, alert)
    await redis.hset(names.INCIDENTS, "gap:x", msgspec.json.encode(alert))
    old, new = entry("old", ts_ms), entry("new", ts_ms + 5_000, "ETHUSDT")
    for signal in (old, new):
        await redis.lpush(names.history(signal.symbol), msgspec.json.encode(signal))
    await influx.write(
        [f'strategy_signals,symbol=BTCUSDT signal_id="old",outcome="unprofitable" {ts_ms}'],
        precision="ms",
    )
    more = {"EXCHANGE_GATEWAY": "http://127.0.0.1:1"}
    async with page(connection_env, tmp_path, **more) as running, running.browser("") as browser:
        await check_hello(browser)
        await browser.watch()
        block = await browser.block("alerts")
        assert block["rows"] == block["open"] == [msgspec.to_builtins(alert)]
        await check_signals(browser, old)
        await heard(redis, names.ALERTS, 1)
        await check_open_interest(browser, redis)

        over = Alert(level="info", code="gap", text="over", ts_ms=now_ms(), ended_level="critical")
        await redis.delete(names.INCIDENTS)
        await told(redis, over)
        block = await browser.block("alerts", open=[])
        assert block["rows"] == [msgspec.to_builtins(over), msgspec.to_builtins(alert)]
        await browser.watch("ETHUSDT")
        assert (await browser.block("gaps", symbol="ETHUSDT"))["rows"] == []


async def told(redis: Redis, alert: Alert) -> None:
    async with redis.pipeline() as pipe:
        tell(pipe, msgspec.json.encode(alert))
        await pipe.execute()


async def check_hello(browser: Browser) -> None:
    hello = await browser.next()
    assert hello["type"] == "hello"
    assert hello["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert hello["steps"] == [1, 5, 15, 60, 300, 900, 1800, 3600, 14400]
    assert (hello["mode"], hello["real_money"], hello["login"]) == ("demo", None, False)


async def check_signals(browser: Browser, signal: Signal) -> None:
    block = await browser.block("signals")
    assert [(row["signal_id"], row["status"]) for row in block["rows"]] == [
        ("new", ""),
        ("old", "unprofitable"),
    ]
    row, expected = block["rows"][1], msgspec.to_builtins(signal)
    assert row["parts"] == signal.score_breakdown
    shown = row.keys() - {"parts", "status"}
    assert {name: row[name] for name in shown} == {name: expected[name] for name in shown}


async def check_open_interest(browser: Browser, redis: Redis) -> None:
    nothing = await browser.block("open_interest")
    assert (nothing["coins"], nothing["venues"], nothing["change_24h"]) == (None, [], None)
    share = OpenInterestShare(
        exchange="BYBIT", coins=5.0, usd=500.0, price=100.0, ts_ms=now_ms() - 9, held=True
    )
    total = OpenInterestTotal(
        base="BTC", ts_ms=now_ms(), coins=5.0, usd=500.0, change_24h=None, venues=[share],
        missing=["OKX"],
    )  # fmt: skip
    await redis.set(names.open_interest_total("BTC"), msgspec.json.encode(total))
    await redis.publish(names.OI_CHANNEL, b"{}")
    block = await browser.block("open_interest", coins=5.0)
    assert block["venues"] == [msgspec.to_builtins(share)]
    assert (block["ts_ms"], block["usd"], block["missing"]) == (total.ts_ms, 500.0, ["OKX"])
    assert block["change_24h"] is None


def view(t: int, score: float) -> View:
    return View(
        symbol="BTCUSDT", base="BTC", t=t, state="RESET", direction=1, since_t=t - 5, score=score,
        score_needed=4.0, parts={"absorption_candle": score},
        waits=[Wait(code="score", text="score 3.5 of 4.0", met=False, have=score, need=4.0)],
    )  # fmt: skip


async def test_the_strategys_view_is_heard_only_while_somebody_looks(
    redis: Redis, connection_env: dict[str, str], tmp_path: Path
) -> None:
    async with page(connection_env, tmp_path) as running:
        await heard(redis, names.VIEWS, 0)
        async with running.browser() as browser:
            assert (await browser.block("strategy"))["view"] is None
            await heard(redis, names.VIEWS, 1)
            for score in (3.5, 4.5):
                seen = view(now_ms() // 1000, score)
                views = Views(replica="a", ts_ms=now_ms(), views=[seen])
                await redis.publish(names.VIEWS, msgspec.json.encode(views))
                block = await browser.block("strategy", view=msgspec.to_builtins(seen))
                assert block["ts_ms"] == views.ts_ms
            board = await browser.until(
                lambda m: m["type"] == "board" and m["rows"][0]["score"] == 4.5
            )
            row = board["rows"][0]
            assert (row["symbol"], row["state"], row["direction"]) == ("BTCUSDT", "RESET", 1)
        await heard(redis, names.VIEWS, 0)


@pytest.fixture
async def freqtrade(tmp_path: Path) -> Any:
    async with FreqtradeDouble() as double:
        yield double


async def test_trades_are_freqtrades_and_its_absence_is_said(
    redis: Redis, freqtrade: FreqtradeDouble, connection_env: dict[str, str], tmp_path: Path
) -> None:
    opened_ms = now_ms() - 9_000
    freqtrade.opened = [
        trade(
            open_timestamp=opened_ms, open_fill_timestamp=opened_ms, current_rate=99.0,
            profit_abs=2.5, profit_ratio=0.05, stop_loss_abs=103.0, enter_tag="sf:abc",
        )
    ]  # fmt: skip
    freqtrade.closed = [
        trade(
            trade_id=6, is_open=False, close_timestamp=now_ms(), close_rate=99.0,
            close_profit=0.02, close_profit_abs=1.25, exit_reason="flow_reversal",
        )
    ]  # fmt: skip
    halt = Halt(halted=True, ts_ms=now_ms(), by="me", reason="lunch")
    await redis.set(names.HALT, msgspec.json.encode(halt))
    more = {"FREQTRADE_API_URL": freqtrade.url, "FREQTRADE_API_PASSWORD": "secret"}
    async with (
        page(connection_env, tmp_path, **more) as running,
        running.browser() as browser,
    ):
        block = await browser.block("trades", problem="")
        [row] = block["open"]
        assert (row["trade_id"], row["side"], row["signal_id"]) == (7, "short", "abc")
        assert (row["profit"], row["current_rate"], row["stop_rate"]) == (2.5, 99.0, 103.0)
        [row] = block["closed"]
        assert (row["trade_id"], row["profit"], row["exit_reason"]) == (6, 1.25, "flow_reversal")
        assert (block["real_money"], block["profit_today"]) == (False, 1.25)
        assert (block["halted"], block["halted_reason"]) == (True, "halted by me: lunch")
        markers = (await running.history(60, opened_ms // 1000 - 60, now_ms() // 1000))["markers"]
        assert {row["trade_id"] for row in markers["trades"]} == {6, 7}

        broken_ms = now_ms()
        freqtrade.status = 503
        away = await browser.until(lambda m: m["type"] == "trades" and bool(m["problem"]))
        # What was known stays, with the time at which it was.
        assert away["open"] == block["open"]
        assert away["ts_ms"] <= broken_ms
        await browser.until(lambda m: "freqtrade" in m.get("problems", {}))


async def test_services_come_with_the_strategys_latencies(
    redis: Redis, connection_env: dict[str, str], tmp_path: Path
) -> None:
    details = {
        "cycle_ms": {"median": 0.3, "p99": 1.5},
        "stages_ms": {"bus": {"median": 2.0, "p99": 9.0}},
    }
    beat = Heartbeat(
        service="strategy-runner", ts_ms=now_ms(), pid=1, cycle_ms=0.3, details=details
    )
    await redis.set(names.heartbeat("strategy-runner"), msgspec.json.encode(beat))
    more = {"STACK_SERVICES": "redis,strategy-runner,oi-tracker"}
    async with (
        page(connection_env, tmp_path, **more) as running,
        running.browser() as browser,
    ):
        block = await browser.until(lambda m: m["type"] == "services" and bool(m["sparks"]))
        sparks = {s["stage"]: (s["median"][-1], s["p99"][-1]) for s in block["sparks"]}
        assert sparks == {"bus": (2.0, 9.0), "decide": (0.3, 1.5)}
        async with running.session.get(f"{running.url}/health") as answer:
            health = await answer.json()
        states = {name: service["state"] for name, service in health["services"].items()}
        shown = {name: service["state"] for name, service in block["services"].items()}
        assert shown == states == {"redis": "up", "strategy-runner": "up", "oi-tracker": "down"}
        assert block["status"] == "degraded"
