"""What the sources say of every number on the page: InfluxDB, Redis, freqtrade, what was told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import aiohttp
import msgspec
from redis.asyncio import Redis

from aggr_server.influx import InfluxClient
from aggr_server.wire import TIMEFRAMES
from services.core import names
from services.core.records import Heartbeat, OpenInterestTotal, Signal
from services.core.views import View
from tests.bench.paging.market import VENUES
from tests.browser.rig import BASES, Rig

Record = TypeVar("Record")
SHOWN_S = 14_400
WHERE = f'"{TIMEFRAMES[0].retention_policy}"."{TIMEFRAMES[0].measurement}"'


async def truths(rig: Rig, window_s: int) -> dict[str, Any]:
    """Figure -> its value, None where there is none. BTC is watched, volumes are of `window_s`."""
    found: dict[str, Any] = dict(of_view(rig.told["BTCUSDT"]))
    async with InfluxClient(rig.settings) as influx, Redis(port=rig.redis_port) as redis:
        for base in BASES:
            found |= await _of_board(influx, rig, base)
        found |= {name: found[f"board.BTCUSDT.{name}"] for name in ("price", "change_4h", "score")}
        found |= await _of_venues(influx, rig.newest_t, window_s)
        found |= await _of_redis(redis)
    found |= await _of_services(rig)
    return found | _of_freqtrade(rig)


def of_view(view: View) -> Iterator[tuple[str, Any]]:
    """Everything that is shown of what the strategy told."""
    for name in ("score", "score_needed", "k", "coverage", "c_spot", "c_perp"):
        yield f"view.{name}", getattr(view, name)
    for name, most in view.parts_max.items():
        yield f"view.parts_max.{name}", most
        yield f"view.parts.{name}", view.parts.get(name)
    for window in view.windows:
        for name in ("z_spot", "z_perp", "z_price", "gap"):
            yield f"view.windows.{window.minutes}.{name}", getattr(window, name)
    for wait in view.waits:
        if wait.kind != "points" and wait.have is not None:
            yield f"view.waits.{wait.kind}.{wait.way}.{wait.code}.have", wait.have
            yield f"view.waits.{wait.kind}.{wait.way}.{wait.code}.need", wait.need
    for part in ("setup", "position"):
        if (told := getattr(view, part)) is not None:
            for name in told.__struct_fields__:
                yield f"view.{part}.{name}", getattr(told, name)


async def _of_board(influx: InfluxClient, rig: Rig, base: str) -> dict[str, Any]:
    market = f"BINANCE_FUTURES:{base.lower()}usdt"
    query = f"SELECT last(close) AS close FROM {WHERE} WHERE market='{market}' AND time <= "
    newest = await influx.query(f"{query}{rig.newest_t}s")
    before = await influx.query(f"{query}{rig.newest_t - SHOWN_S}s")
    price = newest[0]["close"]
    at = f"board.{base}USDT"
    return {
        f"{at}.price": price,
        f"{at}.change_4h": price / before[0]["close"] - 1 if before else None,
        f"{at}.score": rig.told[f"{base}USDT"].score,
    }


async def _of_venues(influx: InfluxClient, newest_t: int, window_s: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for exchange, (kind, _) in VENUES.items():
        rows = await influx.query(
            f"SELECT sum(vbuy) AS vbuy, sum(vsell) AS vsell FROM {WHERE} WHERE "
            f"market='{exchange}:btcusdt' AND time > {newest_t - window_s}s AND time <= {newest_t}s"
        )
        for side in ("vbuy", "vsell"):
            found[f"venues.{window_s}.{exchange}.{kind}.{side}"] = rows[0][side] if rows else 0.0
    return found


async def _of_redis(redis: Redis) -> dict[str, Any]:
    found: dict[str, Any] = {}
    total = _record(await redis.get(names.open_interest_total("BTC")), OpenInterestTotal)
    for name in ("coins", "usd", "change_24h"):
        found[f"oi.{name}"] = getattr(total, name)
        for share in total.venues:
            found[f"oi.{share.exchange}.{name}"] = getattr(share, name)
    for raw in await redis.lrange(names.history("BTCUSDT"), 0, -1):
        signal = msgspec.json.decode(raw, type=Signal)
        for name in ("score", "entry_price", "invalidation_price", "stop_price"):
            found[f"signal.{signal.signal_id}.{name}"] = getattr(signal, name)
    beat = _record(await redis.get(names.heartbeat("strategy-runner")), Heartbeat)
    stages = {**beat.details["stages_ms"], "decide": beat.details["cycle_ms"]}
    for stage, pair in stages.items():
        found |= {f"spark.{stage}.{name}": pair[name] for name in ("median", "p99")}
    return found


def _record(raw: Any, kind: type[Record]) -> Record:
    return msgspec.json.decode(raw, type=kind)


async def _of_services(rig: Rig) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{rig.url}/health") as answer:
        services = (await answer.json())["services"]
    return {f"service.{name}.age_ms": state["age_ms"] for name, state in services.items()}


def _of_freqtrade(rig: Rig) -> dict[str, Any]:
    freqtrade = rig.freqtrade
    found: dict[str, Any] = {
        "equity": freqtrade.total,
        "profit_today": sum(trade["close_profit_abs"] for trade in freqtrade.closed),
    }
    for trade in (*freqtrade.open, *freqtrade.closed):
        at, is_open = f"trade.{trade['trade_id']}", trade["is_open"]
        found |= {
            f"{at}.leverage": trade["leverage"],
            f"{at}.stake": trade["stake_amount"],
            f"{at}.open_rate": trade["open_rate"],
            f"{at}.current_rate": trade.get("current_rate"),
            f"{at}.close_rate": trade.get("close_rate"),
            f"{at}.stop_rate": trade["stop_loss_abs"] if is_open else None,
            f"{at}.profit": trade["profit_abs" if is_open else "close_profit_abs"],
            f"{at}.profit_ratio": trade["profit_ratio" if is_open else "close_profit"],
        }
    return found
