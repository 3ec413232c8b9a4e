"""The decision cycle: from a second's message to everything about it in Redis, per second."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import redis

from aggr_server.wire import CHANNEL, MARKETS_KEY, ClosedSecond, encode
from scripts.stack.running import StackError
from services.core.settings import InfluxSchemaSettings
from tests.bench.cycling import market, naive
from tests.bench.flooding.rig import Child, Stores, ending

SIZES = (3,)
SECONDS = 240
WARM_UP = 70
PAUSE_S = 0.004
NAIVE_ROUNDS = 7
TICKS = 15


def run() -> dict[str, Any]:
    """strategy-runner as it is, in a process of its own, on a real Redis.

    Its history is as large as in operation (4 h of seconds, 28 h of minutes, open interest of three
    exchanges); squeezes are under way, five markets for every symbol trade in every second. The
    next second is sent when the last one is written, 4 minutes and their ends for every size.

    `*_ms_N`: with N symbols, wall time from the arrival of the message, still encoded, until Redis
    has acknowledged all that follows from it: decoding, assembling, summing markets, deciding,
    saving of state, signals, counters. `cpu_*`: CPU time of the process meanwhile. `bus_*`: wall
    time from before the message is published, in the process that publishes it. `rss_mb`: memory
    of the process with 20 symbols. `ratio_naive`: time of one symbol's evaluation by query and
    pandas over `p50_ms_3` / 3.
    """
    folder = Path(tempfile.mkdtemp(prefix="cycle-"))
    stores = Stores(folder)
    try:
        stores.start()
        settings = stores.new_database()
        naive.store(settings)
        plain = naive.cycles_ms(settings, NAIVE_ROUNDS)
        sizes = {count: _measure(count, stores, settings) for count in SIZES}
    finally:
        stores.stop()
    shutil.rmtree(folder, ignore_errors=True)
    naive_ms = statistics.median(plain)
    figures: dict[str, Any] = {}
    for count, measured in sizes.items():
        figures |= {f"{name}_{count}": value for name, value in measured.items()}
    return {
        **figures,
        "rss_mb": figures["rss_mb_20"],
        "naive_ms": round(naive_ms, 1),
        "ratio_naive": round(naive_ms / (figures["p50_ms_3"] / 3)),
    }


def _measure(count: int, stores: Stores, settings: InfluxSchemaSettings) -> dict[str, Any]:
    environ = {
        "REDIS_PORT": str(stores.redis.port),
        "INFLUX_PORT": str(settings.influx_port),
        "INFLUX_DATABASE": settings.influx_database,
        "HEARTBEAT_DIR": str(stores.folder / f"beats-{count}"),
    }
    with redis.Redis(port=stores.redis.port) as client:
        client.flushall()
        names = market.bases(count)
        for known in (m for base in names for m in market.markets(base)):
            client.hset(MARKETS_KEY, known.market, msgspec.json.encode(known))
        child = Child(
            "tests.bench.cycling.loop", str(count), log=stores.folder / "loop.log", environ=environ
        )
        with ending(child):
            return _figures(_play(child, client, names))


def _messages(names: list[str]) -> list[bytes]:
    coins = [market.Coin(base, i) for i, base in enumerate(names)]
    end = market.BEGIN + WARM_UP + SECONDS
    rows = zip(*(coin.seconds(market.BEGIN, end) for coin in coins), strict=True)
    return [
        encode(
            ClosedSecond(
                "aggr-1",
                "e1",
                i + 1,
                market.BEGIN + i,
                (market.BEGIN + i + 1) * 1000 + 150,
                (market.BEGIN + i) * 1000 + 900,
                [bar for bars in row for bar in bars],
            )
        )
        for i, row in enumerate(rows)
    ]


def _play(child: Child, client: redis.Redis, names: list[str]) -> dict[str, Any]:
    messages = _messages(names)
    child.ask("taken")
    client.publish(CHANNEL, messages[0])
    _until(child, "warm")
    bus_ms = []
    for i, message in enumerate(messages[1:], start=1):
        time.sleep(PAUSE_S)
        sent = time.perf_counter_ns()
        client.publish(CHANNEL, message)
        written, index = (int(word) for word in child.ask().split())
        if index != i:
            raise StackError(f"cycle: second {index} was written when {i} was sent")
        bus_ms.append((written - sent) / 1e6)
    report: dict[str, Any] = json.loads(child.ask("report"))
    return {**report, "bus_ms": bus_ms, "messages_kb": len(messages[-1]) / 1000}


def _until(child: Child, answer: str) -> None:
    line = child.ask(answer)
    while line != answer:
        line = child.ask()


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    wall, cpu = report["wall_ms"][WARM_UP:], report["cpu_ms"][WARM_UP:]
    minute = [
        ms
        for ms, second in zip(report["wall_ms"], report["seconds"], strict=True)
        if second % 60 == 59
    ]
    return {
        "p50_ms": _at(wall, 0.5),
        "p99_ms": _at(wall, 0.99),
        "max_ms": _at(wall, 1.0),
        "minute_p50_ms": _at(minute, 0.5),
        "cpu_p50_ms": _at(cpu, 0.5),
        "cpu_p99_ms": _at(cpu, 0.99),
        "cpu_max_ms": _at(cpu, 1.0),
        "bus_p50_ms": _at(report["bus_ms"], 0.5),
        "bus_p99_ms": _at(report["bus_ms"], 0.99),
        "cycles": len(wall),
        "rss_mb": round(report["rss_mb"], 1),
        "states": report["states"],
        "stages_p50_ms": {
            part: report["stages"][part]["median"] for part in ("assemble", "decide", "write")
        },
        "collections": report["collections"],
    }


def _at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)
